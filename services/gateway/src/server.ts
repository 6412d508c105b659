import { randomUUID } from "node:crypto";
import { AppError, type Clock, invariant, systemClock } from "@moiety/core";
import { createRequestProducer } from "@moiety/queue";
import {
  addProcessRoutes,
  createRegistry,
  dropSilentConnections,
  type Logger,
  openTracing,
  type ProcessServer,
  startProcessServer,
} from "@moiety/runtime";
import Fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { addAdminRoutes } from "./admin/admin-routes.js";
import { loadAdminKey } from "./auth/admin-key.js";
import { loadApiKeys } from "./auth/api-keys.js";
import { asksForKeys, authenticate, type Caller } from "./auth/authenticate.js";
import { openJwtVerifier } from "./auth/jwt-config.js";
import { KeyStore } from "./auth/key-store.js";
import { openBatchService } from "./batches/batch-service.js";
import { addFileAndBatchRoutes } from "./batches/routes.js";
import type { GatewayConfig } from "./config.js";
import { addErrorHandling, sendError } from "./error-handling.js";
import type { GatewayContext } from "./gateway-context.js";
import { openGrammar } from "./grammar/open-grammar.js";
import { createGatewayMetrics } from "./metrics.js";
import { openServedModel } from "./model/served-model.js";
import { PROCESSING_HEADER } from "./openai/answer.js";
import { addOpenAiRoutes } from "./openai/endpoints.js";
import { fromThrown } from "./openai/errors.js";
import { TokenNames } from "./openai/logprobs.js";
import { openResponseService } from "./responses/response-service.js";
import { Accounts } from "./tenants/accounts.js";
import { AuditTrail } from "./tenants/audit-trail.js";
import { addRequestSpans, type SpanOf } from "./tracing/request-spans.js";
import { addTraffic, countByTenant, isApi, Traffic } from "./traffic.js";
import { Workers } from "./workers.js";

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export interface Gateway {
  readonly port: number;
  /** Of the metrics, where they have one of their own. */
  readonly metricsPort?: number;
  /** Takes requests for a while yet, then refuses new ones, waits for those that are running, and lets go of everything. */
  close(): Promise<void>;
}

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;
/** For a whole request to come in: also a large file, over a slow line. */
const UPLOAD_TIMEOUT_MS = 600_000;

/** @throws AppError when the checkpoint or the keys cannot be read, or the port is taken. Redis may come later. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, logger, clock = systemClock } = options;
  const adminDigest = await loadAdminKey(config.MOIETY_ADMIN_KEY, config.MOIETY_ADMIN_KEY_FILE);
  const fixed = await loadApiKeys(config.MOIETY_API_KEYS, config.MOIETY_API_KEYS_FILE);
  const tokens = openJwtVerifier(config, clock);
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
  const callers = new WeakMap<FastifyRequest, Caller>();
  const callerOf = (request: FastifyRequest): Caller => {
    const caller = callers.get(request);
    invariant(caller !== undefined, "a route asks for a caller that was not authenticated");
    return caller;
  };
  const tenantOf = (request: FastifyRequest) => callerOf(request).tenant;
  const issued = adminDigest && openKeyStore(config, clock, logger);
  const names = new TokenNames(model.tokenizer);
  const traffic = new Traffic();
  const app = createApp(config);
  dropSilentConnections(app);
  const responses = openResponseService({ config, clock, logger, metrics, model, names, producer });
  let spans: SpanOf = () => undefined;
  const spanOf: SpanOf = (request) => spans(request);
  const accounts = new Accounts({ config, clock, logger, metrics, model, producer });
  const trail = new AuditTrail(accounts.audit);
  const shared = {
    config,
    clock,
    logger,
    metrics,
    model,
    names,
    producer,
    workers,
    grammar,
    responses,
    accounts,
    trail,
    callerOf,
    tenantOf,
    spanOf,
  };
  const context: GatewayContext = { ...shared, elapsedMs: addStopwatch(app, clock), load: () => traffic.count };
  const batches = await openBatchService(context).catch(async (error: unknown) => {
    workers.close();
    await responses.close();
    await accounts.close();
    await issued?.close();
    await producer.close();
    throw error;
  });
  addErrorHandling(app, logger);
  addTraffic(app, context, traffic);
  const keyring = { fixed, issued, tokens };
  if (!asksForKeys(keyring)) logger.warn("there are no API keys: whoever reaches this port may ask");
  app.addHook("onRequest", async (request) => {
    if (!isApi(request)) return;
    const caller = await authenticate(keyring, request.headers.authorization);
    callers.set(request, caller);
    trail.authenticated(request, caller);
  });
  spans = addRequestSpans(app, { tracing, isTraced: isApi });
  countByTenant(app, context);
  const { MOIETY_HTTP_HOST: host, MOIETY_METRICS_PORT: apart } = config;
  const readiness = () => missingForReadiness(context, traffic);
  addProcessRoutes(app, apart === undefined ? { registry, readiness } : { readiness });
  await app.register(async (scope) => addOpenAiRoutes(scope, context));
  if (batches) await app.register(async (scope) => addFileAndBatchRoutes(scope, context, batches));
  if (adminDigest && issued) {
    const { tenants, book, usage, audit } = accounts;
    const options = { keys: issued, tenants, book, usage, audit, adminDigest, logger, clock };
    await app.register(async (scope) => addAdminRoutes(scope, options));
  }
  const release = async () => {
    workers.close();
    await batches?.stop();
    await app.close();
    await responses.close();
    await batches?.close();
    await accounts.close();
    await issued?.close();
    await producer.close();
    await tracing.close();
    await metricsServer?.close();
  };
  let metricsServer: ProcessServer | undefined;
  const listening = async () => {
    if (apart !== undefined) metricsServer = await startProcessServer({ host, port: apart, registry, readiness });
    return listen(app, config);
  };
  const port = await listening().catch(async (error: unknown) => {
    await release();
    throw error;
  });
  const own = metricsServer === undefined ? {} : { metricsPort: metricsServer.port };
  const { name, harmony, fingerprint, tokenizer } = model;
  const engines = { tokenizer: tokenizer !== undefined, grammar: grammar.engine?.name };
  logger.info({ port, ...own, model: name, harmony, fingerprint, ...engines }, "gateway listening");
  batches?.start();
  accounts.start();
  let closed: Promise<void> | undefined;
  const close = async () => {
    const draining = traffic.drain({ clock, server: app.server, lameDuckMs: config.MOIETY_LAME_DUCK_MS });
    await batches?.stop();
    await draining;
    await release();
  };
  return {
    port,
    ...own,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
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
  if (traffic.isLeaving) return ["draining"];
  if (!(await producer.ping())) return ["redis"];
  return workers.missing();
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
