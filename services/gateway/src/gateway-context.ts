import { AppError, type Clock, type TenantId } from "@moiety/core";
import type { RequestProducer } from "@moiety/queue";
import type { Logger } from "@moiety/runtime";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Caller } from "./auth/authenticate.js";
import type { GatewayConfig } from "./config.js";
import type { GrammarChecker } from "./grammar/check-grammar.js";
import type { GatewayMetrics } from "./metrics.js";
import type { ServedModel } from "./model/served-model.js";
import type { TokenNames } from "./openai/logprobs.js";
import type { ResponseService } from "./responses/response-service.js";
import type { Accounts } from "./tenants/accounts.js";
import type { AuditTrail } from "./tenants/audit-trail.js";
import type { SpanOf } from "./tracing/request-spans.js";
import type { Workers } from "./workers.js";

/** What every route needs. */
export interface GatewayContext {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: GatewayMetrics;
  readonly model: ServedModel;
  readonly names: TokenNames;
  readonly producer: RequestProducer;
  readonly workers: Workers;
  readonly grammar: GrammarChecker;
  readonly responses: ResponseService;
  readonly accounts: Accounts;
  readonly trail: AuditTrail;
  /** Whose key a request came with. */
  readonly callerOf: (request: FastifyRequest) => Caller;
  /** The tenant that a request's key belongs to. */
  readonly tenantOf: (request: FastifyRequest) => TenantId;
  readonly spanOf: SpanOf;
  /** Milliseconds since a request came in. */
  readonly elapsedMs: (request: FastifyRequest) => number;
  /** API requests that this gateway is answering now. */
  readonly load: () => number;
}

/** Aborts when the client is gone before it was answered. */
export function clientSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const leave = () => gone.abort(new AppError("CANCELLED", "the client closed the connection"));
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) leave();
  });
  if (reply.raw.destroyed) leave();
  return gone.signal;
}
