import type { FastifyReply } from "fastify";
import type { GatewayConfig } from "../config.js";
import type { RateLimit, RateLimits } from "../tenants/rate-limits.js";

/** Requests that can be answered at once, and that could be admitted besides this one when it was. OpenAI's names, for limits of ours. */
const LIMIT_HEADER = "x-ratelimit-limit-requests";
const REMAINING_HEADER = "x-ratelimit-remaining-requests";

/** `serving` API requests are being answered by this gateway. */
export function stateRoom(reply: FastifyReply, config: GatewayConfig, serving: number): void {
  const { MOIETY_MAX_STREAMS: streams, MOIETY_MAX_REQUESTS: requests } = config;
  reply.header(LIMIT_HEADER, String(Math.min(streams, requests)));
  reply.header(REMAINING_HEADER, String(Math.min(requests, Math.max(0, streams - serving))));
}

/** For those that needed a place in the queue, which all gateways share. Absent: nobody knows, and the gateway's own room stands. */
export function stateQueueRoom(reply: FastifyReply, room: number | undefined): void {
  const stated = Number(reply.getHeader(REMAINING_HEADER) ?? 0);
  if (room !== undefined) reply.header(REMAINING_HEADER, String(Math.max(0, Math.min(stated, room))));
}

/** A tenant's limits per minute, which say more than the room that there is. */
export function stateRateLimits(reply: FastifyReply, { requests, tokens }: RateLimits = {}): void {
  if (requests) stateRateLimit(reply, "requests", requests);
  if (tokens) stateRateLimit(reply, "tokens", tokens);
}

function stateRateLimit(reply: FastifyReply, unit: "requests" | "tokens", { limit, remaining, resetMs }: RateLimit): void {
  reply.header(`x-ratelimit-limit-${unit}`, String(limit));
  reply.header(`x-ratelimit-remaining-${unit}`, String(remaining));
  reply.header(`x-ratelimit-reset-${unit}`, spellDuration(resetMs));
}

/** As OpenAI spells it: `17ms`, `8.64s`, `6m0s`, `1h0m0s`. */
export function spellDuration(ms: number): string {
  if (ms < 1_000) return `${ms}ms`;
  if (ms < 60_000) return `${ms / 1_000}s`;
  const seconds = Math.ceil(ms / 1_000);
  const hours = Math.floor(seconds / 3_600);
  const rest = `${Math.floor((seconds % 3_600) / 60)}m${seconds % 60}s`;
  return hours === 0 ? rest : `${hours}h${rest}`;
}
