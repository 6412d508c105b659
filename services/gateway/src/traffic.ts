import type { Server } from "node:http";
import type { Socket } from "node:net";
import { AppError, type Clock } from "@moiety/core";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { GatewayContext } from "./gateway-context.js";
import { fromThrown } from "./openai/errors.js";
import { stateQueueRoom, stateRateLimits, stateRoom } from "./openai/rate-limit-headers.js";
import type { RateLimits } from "./tenants/rate-limits.js";

/** What nginx logs for a client that went away. */
const CLIENT_CLOSED = 499;
/** What a request was answered with, once its connection or its answer has ended. */
const statusOf = ({ raw }: FastifyReply): number => (raw.writableFinished ? raw.statusCode : CLIENT_CLOSED);
const isApiPath = (path: string): boolean => /^\/(v1|tokenize|detokenize)([/?]|$)/.test(path);
/** By the route that was found as well as by the text: the router decodes what a path spells in percent signs. */
export const isApi = (request: FastifyRequest): boolean => isApiPath(request.routeOptions.url ?? "") || isApiPath(request.url);

/** After the last answer on a connection that its client may keep: for the request that may be on its way already. */
const LINGER_MS = 500;

export interface DrainOptions {
  readonly clock: Clock;
  readonly server: Server;
  /** How long everybody is still served. */
  readonly lameDuckMs: number;
}

/**
 * Requests that are being answered, and how a gateway takes its leave. First everybody is served, but each answer is the last on its
 * connection. Then who connects anew is refused, while those who are connected are served once more: a client that
 * asks on a connection it was promised would lose its request.
 */
export class Traffic {
  count = 0;
  #state: "serving" | "leaving" | "draining" = "serving";
  readonly #late = new WeakSet<Socket>();
  #whenIdle: (() => void) | undefined;
  #clock: Clock | undefined;
  #lastLeftMs = Number.NEGATIVE_INFINITY;

  /** Answers are to end their connections. */
  get isLeaving(): boolean {
    return this.#state !== "serving";
  }

  /** Whether a request on this connection is to be refused. */
  refuses(socket: Socket): boolean {
    return this.#state === "draining" && this.#late.has(socket);
  }

  leave(): void {
    this.count -= 1;
    this.#lastLeftMs = this.#clock?.monotonicMs() ?? this.#lastLeftMs;
    if (this.count === 0) this.#whenIdle?.();
  }

  /** Resolves when nothing is left to answer. */
  async drain({ clock, server, lameDuckMs }: DrainOptions): Promise<void> {
    this.#clock = clock;
    this.#state = "leaving";
    if (lameDuckMs > 0) await clock.sleep(lameDuckMs);
    this.#state = "draining";
    server.on("connection", (socket: Socket) => this.#late.add(socket));
    server.closeIdleConnections();
    const lingerMs = Math.min(LINGER_MS, lameDuckMs);
    for (;;) {
      if (this.count > 0)
        await new Promise<void>((resolve) => {
          this.#whenIdle = resolve;
        });
      const restMs = this.#lastLeftMs + lingerMs - clock.monotonicMs();
      if (this.count === 0 && restMs <= 0) return;
      if (restMs > 0) await clock.sleep(restMs);
    }
  }
}

/** Counts, names and logs requests, and refuses those for which there is no room. */
export function addTraffic(app: FastifyInstance, context: GatewayContext, traffic: Traffic): void {
  const { config, metrics, logger, trail } = context;
  const entered = new WeakSet<FastifyRequest>();
  const leave = (request: FastifyRequest) => {
    if (!entered.delete(request)) return;
    metrics.inFlight(-1);
    traffic.leave();
  };
  // Not onResponse: Fastify calls that only for answers that were sent whole, and clients hang up on streams.
  app.addHook("onRequest", async (request, reply) => {
    if (traffic.isLeaving) reply.header("connection", "close");
    reply.raw.once("close", () => {
      const route = request.routeOptions.url ?? "none";
      const status = statusOf(reply);
      metrics.response({ route, status });
      if (!isApi(request)) return;
      trail.ended(request, status);
      const durationMs = context.elapsedMs(request);
      logger.info({ requestId: request.id, method: request.method, route, status, durationMs }, "answered");
    });
  });
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    if (!isApi(request)) return;
    if (traffic.refuses(request.raw.socket)) {
      metrics.rejected("draining");
      throw new AppError("UNAVAILABLE", "this gateway is shutting down; try again");
    }
    stateRoom(reply, config, traffic.count + 1);
    if (traffic.count >= config.MOIETY_MAX_STREAMS) {
      metrics.rejected("too-many-streams");
      throw new AppError("RESOURCE_EXHAUSTED", "this gateway serves as many requests as it can; try again", {
        details: { retryAfterMs: 1_000 },
      });
    }
    traffic.count += 1;
    entered.add(request);
    metrics.inFlight(1);
    reply.raw.once("close", () => leave(request));
  });
  app.addHook("onError", async (request, reply, thrown) => {
    const error = fromThrown(thrown);
    trail.failed(request, error);
    const { limit, tenantLimit, rateLimits } = error.details;
    if (tenantLimit !== undefined) metrics.rejected("tenant-limit");
    if (rateLimits !== undefined) stateRateLimits(reply, rateLimits as RateLimits);
    if (limit === undefined) return;
    metrics.rejected("queue-full");
    stateQueueRoom(reply, 0);
  });
}

/** Answers to those that have a key, or need none. */
export function countByTenant(app: FastifyInstance, { metrics, tenantOf }: GatewayContext): void {
  app.addHook("onRequest", async (request, reply) => {
    if (!isApi(request)) return;
    const tenant = tenantOf(request);
    reply.raw.once("close", () => metrics.tenants.responded(tenant, statusOf(reply)));
  });
}
