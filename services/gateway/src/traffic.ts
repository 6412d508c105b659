import { AppError } from "@moiety/core";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { GatewayContext } from "./gateway-context.js";
import { fromThrown } from "./openai/errors.js";
import { stateQueueRoom, stateRateLimits, stateRoom } from "./openai/rate-limit-headers.js";
import type { RateLimits } from "./tenants/rate-limits.js";

/** What nginx logs for a client that went away. */
const CLIENT_CLOSED = 499;
const isApiPath = (path: string): boolean => /^\/(v1|tokenize|detokenize)([/?]|$)/.test(path);
/** By the route that was found as well as by the text: the router decodes what a path spells in percent signs. */
export const isApi = (request: FastifyRequest): boolean => isApiPath(request.routeOptions.url ?? "") || isApiPath(request.url);

/** Requests that are being answered. */
export class Traffic {
  draining = false;
  count = 0;
  #whenIdle: (() => void) | undefined;

  leave(): void {
    this.count -= 1;
    if (this.count === 0) this.#whenIdle?.();
  }

  async drain(): Promise<void> {
    this.draining = true;
    if (this.count === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
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
    reply.raw.once("close", () => {
      const route = request.routeOptions.url ?? "none";
      const status = reply.raw.writableFinished ? reply.raw.statusCode : CLIENT_CLOSED;
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
    if (traffic.draining) {
      metrics.rejected("draining");
      reply.header("connection", "close");
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
