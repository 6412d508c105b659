import type { FastifyReply } from "fastify";
import type { GatewayConfig } from "../config.js";

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
