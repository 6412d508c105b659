import { randomUUID } from "node:crypto";
import { AppError, type Clock, invariant, systemClock, type TenantId } from "@moiety/core";
import { createRequestProducer } from "@moiety/queue";
import { addProcessRoutes, createRegistry, dropSilentConnections, type Logger, openTracing } from "@moiety/runtime";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { addKeyRoutes } from "./admin/key-routes.js";
import { loadAdminKey } from "./auth/admin-key.js";
import { loadApiKeys } from "./auth/api-keys.js";
import { authenticate } from "./auth/authenticate.js";
import { KeyStore } from "./auth/key-store.js";
import { openBatchService } from "./batches/batch-service.js";
import { addFileAndBatchRoutes } from "./batches/routes.js";
import type { GatewayConfig } from "./config.js";
import type { GatewayContext } from "./gateway-context.js";
import { openGrammar } from "./grammar/open-grammar.js";
import { createGatewayMetrics } from "./metrics.js";
import { openServedModel } from "./model/served-model.js";
import { PROCESSING_HEADER } from "./openai/answer.js";
import { addOpenAiRoutes, noRoute } from "./openai/endpoints.js";
import { fromThrown, toOpenAiError } from "./openai/errors.js";
import { TokenNames } from "./openai/logprobs.js";
import { stateQueueRoom, stateRoom } from "./openai/rate-limit-headers.js";
import { openResponseService } from "./responses/response-service.js";
import { addRequestSpans, type SpanOf } from "./tracing/request-spans.js";
import { Workers } from "./workers.js";

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export interface Gateway {
  readonly port: number;
  /** Refuses new requests, waits for those that are running, and lets go of everything. */
  close(): Promise<void>;
}

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;
/** For a whole request to come in: also a large file, over a slow line. */
const UPLOAD_TIMEOUT_MS = 600_000;
/** What nginx logs for a client that went away. */
const CLIENT_CLOSED = 499;
const isApiPath = (path: string): boolean => /^\/(v1|tokenize|detokenize)([/?]|$)/.test(path);
/** By the route that was found as well as by the text: the router decodes what a path spells in percent signs. */
const isApi = (request: FastifyRequest): boolean => isApiPath(request.routeOptions.url ?? "") || isApiPath(request.url);

/** What a request was answered with, once its connection or its answer has ended. */
const statusOf = ({ raw }: FastifyReply): number => (raw.writableFinished ? raw.statusCode : CLIENT_CLOSED);

/** Requests that are being answered. */
class Traffic {
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

/** @throws AppError when the checkpoint or the keys cannot be read, or the port is taken. Redis may come later. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, logger, clock = systemClock } = options;
  const adminDigest = await loadAdminKey(config.MOIETY_ADMIN_KEY, config.MOIETY_ADMIN_KEY_FILE);
  const fixed = await loadApiKeys(config.MOIETY_API_KEYS, config.MOIETY_API_KEYS_FILE);
  const model = await openServedModel(config.MOIETY_MODEL, config.MOIETY_MODEL_NAME);
  const registry = createRegistry({ service: "gateway", instance: config.MOIETY_GATEWAY_ID });
  const tracing = await openTracing({ config, service: "gateway", instance: config.MOIETY_GATEWAY_ID, logger, registry });
  const producer = createRequestProducer({
    redisUrl: config.MOIETY_REDIS_URL,
    prefix: config.MOIETY_REDIS_PREFIX,
    maxRequests: config.MOIETY_MAX_REQUESTS,
    clock,
    onError: (error) => logger.warn({ err: error }, "queue fault"),
  });
  const metrics = createGatewayMetrics({ registry, producer, clock, modelName: model.name });
  const workers = new Workers({
    producer,
    clock,
    maxContextTokens: model.config.maxContext,
    fingerprint: model.fingerprint,
  });
  const withoutEngine = (name: string) => workers.withoutEngine(name);
  const grammar = { ...openGrammar(model, logger), withoutEngine, clock, observer: metrics.grammar };
  const tenants = new WeakMap<FastifyRequest, TenantId>();
  const tenantOf = (request: FastifyRequest): TenantId => {
    const tenant = tenants.get(request);
    invariant(tenant !== undefined, "a route asks for a tenant that was not authenticated");
    return tenant;
  };
  const issued = adminDigest && openKeyStore(config, clock, logger);
  const names = new TokenNames(model.tokenizer);
  const traffic = new Traffic();
  const app = createApp(config);
  dropSilentConnections(app);
  const responses = openResponseService({ config, clock, logger, metrics, model, names, producer });
  const shared = { config, clock, logger, metrics, model, names, producer, workers, grammar, responses, tenantOf };
  let spans: SpanOf = () => undefined;
  const spanOf: SpanOf = (request) => spans(request);
  const context: GatewayContext = { ...shared, spanOf, elapsedMs: addStopwatch(app, clock), load: () => traffic.count };
  const batches = await openBatchService(context).catch(async (error: unknown) => {
    workers.close();
    await responses.close();
    await issued?.close();
    await producer.close();
    throw error;
  });
  addErrorHandling(app, logger);
  addTraffic(app, context, traffic);
  app.addHook("onRequest", async (request) => {
    if (isApi(request)) tenants.set(request, await authenticate({ fixed, issued }, request.headers.authorization));
  });
  spans = addRequestSpans(app, { tracing, isTraced: isApi });
  countByTenant(app, context);
  addProcessRoutes(app, { registry, readiness: () => missingForReadiness(context, traffic) });
  await app.register(async (scope) => addOpenAiRoutes(scope, context));
  if (batches) await app.register(async (scope) => addFileAndBatchRoutes(scope, context, batches));
  if (adminDigest && issued) {
    await app.register(async (scope) => addKeyRoutes(scope, { keys: issued, adminDigest, logger }));
  }
  const release = async () => {
    workers.close();
    await batches?.stop();
    await app.close();
    await responses.close();
    await batches?.close();
    await issued?.close();
    await producer.close();
    await tracing.close();
  };
  const port = await listen(app, config).catch(async (error: unknown) => {
    await release();
    throw error;
  });
  const { name, harmony, fingerprint, tokenizer } = model;
  const engines = { tokenizer: tokenizer !== undefined, grammar: grammar.engine?.name };
  logger.info({ port, model: name, harmony, fingerprint, ...engines }, "gateway listening");
  batches?.start();
  let closed: Promise<void> | undefined;
  const close = async () => {
    await batches?.stop();
    await traffic.drain();
    await release();
  };
  return {
    port,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}

/** Answers to those that have a key, or need none. */
function countByTenant(app: FastifyInstance, { metrics, tenantOf }: GatewayContext): void {
  app.addHook("onRequest", async (request, reply) => {
    if (!isApi(request)) return;
    const tenant = tenantOf(request);
    reply.raw.once("close", () => metrics.tenants.responded(tenant, statusOf(reply)));
  });
}

function openKeyStore(config: GatewayConfig, clock: Clock, logger: Logger): KeyStore {
  return new KeyStore({
    redisUrl: config.MOIETY_REDIS_URL,
    prefix: config.MOIETY_REDIS_PREFIX,
    clock,
    onError: (error) => logger.warn({ err: error }, "fault of the keys' store"),
  });
}

function createApp(config: GatewayConfig): FastifyInstance {
  return Fastify({
    bodyLimit: config.MOIETY_MAX_BODY_BYTES,
    requestTimeout: UPLOAD_TIMEOUT_MS,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 256 },
    frameworkErrors: (error, request, reply) => {
      sendError(reply.header("x-request-id", request.id), fromThrown(error));
    },
    genReqId: (request) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
    },
  });
}

async function listen(app: FastifyInstance, config: GatewayConfig): Promise<number> {
  const { MOIETY_HTTP_HOST: host, MOIETY_HTTP_PORT: port } = config;
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw new AppError("UNAVAILABLE", `cannot listen on ${host}:${port}: ${AppError.from(error).message}`, { cause: error });
  }
  const address = app.server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

async function missingForReadiness({ producer, workers }: GatewayContext, traffic: Traffic): Promise<readonly string[]> {
  if (traffic.draining) return ["draining"];
  if (!(await producer.ping())) return ["redis"];
  return workers.missing();
}

function sendError(reply: FastifyReply, error: AppError): FastifyReply {
  const { status, body, retryAfterS } = toOpenAiError(error);
  if (retryAfterS !== undefined) reply.header("retry-after", String(retryAfterS));
  return reply.code(status).send(body);
}

const isFaultOfBody = (thrown: unknown) =>
  thrown instanceof Error && "code" in thrown && String(thrown.code).startsWith("FST_ERR_CTP_");

function addErrorHandling(app: FastifyInstance, logger: Logger): void {
  const answerNoRoute = (request: FastifyRequest, reply: FastifyReply) => {
    const { error, allow } = noRoute(request);
    if (allow !== undefined) reply.header("allow", allow);
    return sendError(reply, error);
  };
  app.setErrorHandler((thrown, request, reply) => {
    // A body is read even where nobody takes it; what is wrong with it matters less than that.
    if (request.is404 && isFaultOfBody(thrown)) return answerNoRoute(request, reply);
    const error = fromThrown(thrown);
    if (toOpenAiError(error).status >= 500) logger.error({ err: error, requestId: request.id }, "a request failed");
    return sendError(reply, error);
  });
  app.setNotFoundHandler(answerNoRoute);
}

/** Times requests, and says in the answers' headers how long they took. */
function addStopwatch(app: FastifyInstance, clock: Clock): GatewayContext["elapsedMs"] {
  const startedMs = new WeakMap<FastifyRequest, number>();
  const elapsedMs = (request: FastifyRequest) => {
    const nowMs = clock.monotonicMs();
    return Math.round(nowMs - (startedMs.get(request) ?? nowMs));
  };
  app.addHook("onRequest", async (request) => {
    startedMs.set(request, clock.monotonicMs());
  });
  app.addHook("onSend", async (request, reply) => {
    if (isApi(request)) reply.header(PROCESSING_HEADER, String(elapsedMs(request)));
  });
  return elapsedMs;
}

/** Counts, names and logs requests, and refuses those for which there is no room. */
function addTraffic(app: FastifyInstance, context: GatewayContext, traffic: Traffic): void {
  const { config, metrics, logger } = context;
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
      const status = statusOf(reply);
      metrics.response({ route, status });
      if (!isApi(request)) return;
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
  app.addHook("onError", async (_request, reply, error) => {
    if (fromThrown(error).details["limit"] === undefined) return;
    metrics.rejected("queue-full");
    stateQueueRoom(reply, 0);
  });
}
