import { basename } from "node:path";
import { AppError, type Clock, parseWorkerId, systemClock, type WorkerId } from "@moiety/core";
import { createRequestConsumer, type RequestConsumer } from "@moiety/queue";
import {
  type ControlClient,
  createRegistry,
  type Logger,
  openTracing,
  openTransport,
  type ProcessServer,
  plainTransport,
  stalled,
  startProcessServer,
  type Tracing,
  type Transport,
} from "@moiety/runtime";
import type { AttentionWorkerConfig } from "./config.js";
import { Engine } from "./engine.js";
import type { ExpertPool } from "./experts/expert-pool.js";
import { Forward } from "./forward/forward.js";
import { KvCache, type KvCacheOptions } from "./kv-cache/kv-cache.js";
import { kvPools } from "./kv-cache/kv-capacity.js";
import { type AttentionMetrics, createAttentionMetrics } from "./metrics.js";
import { type OpeningProgress, type OpenModel, openModel } from "./model.js";
import { type OpenExperts, openLocalExperts, openRemoteExperts } from "./open-experts.js";
import { openGrammar } from "./open-grammar.js";

export interface AttentionWorkerOptions {
  readonly config: AttentionWorkerConfig;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** The worker can serve nobody any more: close it and end the process, so that others go on from the logs. */
  onBroken(error: AppError): void;
}

export interface AttentionWorker {
  /** Port of /health, /ready and /metrics. */
  readonly httpPort: number;
  /** Why it takes no requests; empty when it does. */
  missing(): Promise<readonly string[]>;
  /**
   * Takes no more requests, finishes those held if that is done within `drainMs`, gives back the others, and lets go of everything.
   */
  close(drainMs: number): Promise<void>;
}

const BEAT_INTERVAL_MS = 1_000;
const WATCH_INTERVAL_MS = 100;

/** @throws AppError when an address is taken, or the checkpoint cannot be served. */
export async function startAttentionWorker(options: AttentionWorkerOptions): Promise<AttentionWorker> {
  const { config, logger, clock = systemClock } = options;
  const workerId = parseWorkerId(config.MOIETY_WORKER_ID);
  const registry = createRegistry({ service: "attention-worker", instance: workerId });
  const transport = usesExpertWorkers(config) ? await openTransport({ config, logger, registry }) : plainTransport;
  const modelName = config.MOIETY_MODEL_NAME ?? basename(config.MOIETY_MODEL);
  const tracing = await openTracing({ config, service: "attention-worker", instance: workerId, logger, registry });
  const metrics = createAttentionMetrics({ registry, modelName, engine: workerId });
  let probe = async (): Promise<readonly string[]> => ["model: the checkpoint is being opened"];
  let runningMs = () => 0;
  const http = await startProcessServer({
    host: config.MOIETY_HTTP_HOST,
    port: config.MOIETY_HTTP_PORT,
    registry,
    readiness: () => probe(),
    liveness: () => stalled(runningMs(), config),
  });
  try {
    const onProgress = (progress: OpeningProgress) => {
      const percent = Math.floor((100 * progress.readBytes) / progress.totalBytes);
      logger.info({ ...progress, percent }, "opening the checkpoint");
      probe = async () => [`model: ${percent}% of the attention's weights are read`];
    };
    const parts = await assemble({ options, workerId, transport, tracing, metrics, clock, onProgress });
    probe = parts.missing;
    runningMs = () => parts.model.kernels.runningMs;
    logger.info({ httpPort: http.port, workerId, level: parts.model.kernels.level }, "attention worker started");
    let closed: Promise<void> | undefined;
    const close = (drainMs: number) => {
      closed ??= closeAll(parts, http, drainMs).finally(() => {
        transport.close();
        return tracing.close();
      });
      return closed;
    };
    return { httpPort: http.port, missing: parts.missing, close };
  } catch (error) {
    transport.close();
    await http.close();
    throw error;
  }
}

interface Parts {
  readonly model: OpenModel;
  readonly pool: ExpertPool;
  readonly control: ControlClient | undefined;
  readonly consumer: RequestConsumer;
  readonly engine: Engine;
  missing(): Promise<readonly string[]>;
  /** From now on nothing counts as broken, and the gateways hear no more of this worker. */
  beginClosing(): Promise<void>;
}

interface Assembly {
  readonly options: AttentionWorkerOptions;
  readonly workerId: WorkerId;
  readonly transport: Transport;
  readonly tracing: Tracing;
  readonly metrics: AttentionMetrics;
  readonly clock: Clock;
  onProgress(progress: OpeningProgress): void;
}

async function assemble(assembly: Assembly): Promise<Parts> {
  const { options, tracing, metrics, clock, onProgress } = assembly;
  const { config, logger } = options;
  let pools: KvCacheOptions | undefined;
  const model = await openModel({
    directory: config.MOIETY_MODEL,
    threads: config.MOIETY_THREADS,
    ...(config.MOIETY_KERNEL_LEVEL === undefined ? {} : { level: config.MOIETY_KERNEL_LEVEL }),
    activation: config.MOIETY_ACTIVATION,
    kv: (checkpoint) => {
      pools = poolsOf(config, checkpoint.config.slidingWindow);
      return pools;
    },
    onProgress,
  });
  const cache = new KvCache(pools ?? poolsOf(config, model.checkpoint.config.slidingWindow));
  let broken: AppError | undefined;
  let closing = false;
  const onBroken = (error: AppError) => {
    // What is being closed ends what still waits, for Redis or for an expert to be loaded.
    if (closing) return;
    broken ??= error;
    logger.fatal({ err: error }, "attention worker cannot go on");
    options.onBroken(error);
  };
  const { pool, control, loaded } = await openExperts(assembly, model);
  loaded.catch((error: unknown) => onBroken(AppError.from(error)));
  const consumer = createRequestConsumer({
    redisUrl: config.MOIETY_REDIS_URL,
    prefix: config.MOIETY_REDIS_PREFIX,
    capacity: 0,
    onError: (error) => logger.warn({ code: error.code, reason: error.message }, "queue fault"),
  });
  const { layers, vocabSize, maxContext } = model.checkpoint.config;
  const contextTokens = Math.min(config.MOIETY_KV_TOKENS, maxContext);
  const forward = new Forward(
    { attention: model.attention, experts: pool, layers },
    {
      lanes: config.MOIETY_COLOCATED ? 1 : 2,
      minRows: config.MOIETY_MICRO_BATCH_MIN_ROWS,
      onLayer: metrics.engine.onLayer,
    },
  );
  const grammar = await openGrammar(model.checkpoint, logger);
  const engine = new Engine({
    cache,
    forward,
    limits: {
      maxSequences: config.MOIETY_MAX_SEQUENCES,
      stepTokens: config.MOIETY_STEP_TOKENS,
      prefillChunkTokens: config.MOIETY_PREFILL_CHUNK_TOKENS,
      contextTokens,
    },
    vocabSize,
    clock,
    logger,
    observer: metrics.engine,
    tracing,
    ...(grammar === undefined ? {} : { decoding: { engine: grammar, clock, observer: metrics.grammar } }),
    onCapacity: (claims) => consumer.setCapacity(claims),
    onBroken,
  });
  let started = false;
  const missing = async () => [
    ...(broken === undefined ? [] : [`engine: ${broken.message}`]),
    ...pool.missing(),
    ...((await consumer.ping()) ? [] : ["redis: does not answer"]),
    ...(started ? [] : ["queue: not yet connected"]),
  ];
  engine.pause(pool.missing().length > 0);
  engine.start();
  const beat = () =>
    consumer.beat({
      workerId: assembly.workerId,
      modelFingerprint: model.checkpoint.fingerprint,
      maxContextTokens: contextTokens,
      ...engine.load,
      ...(grammar === undefined ? {} : { grammarEngine: grammar.name }),
    });
  const stopWatching = watch({ clock, logger, engine, pool, beat });
  consumer
    .start((claim) => engine.add(claim))
    .then(
      () => {
        started = true;
      },
      (error: unknown) => onBroken(AppError.from(error)),
    );
  const beginClosing = async () => {
    closing = true;
    await stopWatching();
  };
  return { model, pool, control, consumer, engine, missing, beginClosing };
}

/** Without, it has no gRPC port. */
function usesExpertWorkers(config: AttentionWorkerConfig): boolean {
  return !config.MOIETY_COLOCATED && config.MOIETY_ROUTER_ADDRESS !== undefined;
}

/** With its own experts a worker needs nothing from a router, and tells it nothing. */
async function openExperts(
  { options, workerId, transport, metrics }: Omit<Assembly, "onProgress">,
  model: OpenModel,
): Promise<OpenExperts> {
  const { config, logger } = options;
  const { MOIETY_ROUTER_ADDRESS: routerAddress, MOIETY_ADVERTISE_ADDRESS: advertiseAddress } = config;
  if (config.MOIETY_COLOCATED || routerAddress === undefined) return openLocalExperts(model);
  return openRemoteExperts({
    model,
    workerId,
    routerAddress,
    listenAddress: config.MOIETY_LISTEN_ADDRESS,
    transport,
    ...(advertiseAddress === undefined ? {} : { advertiseAddress }),
    observer: metrics.experts,
    logger,
  });
}

function poolsOf(config: AttentionWorkerConfig, slidingWindow: number): KvCacheOptions {
  return kvPools({
    tokens: config.MOIETY_KV_TOKENS,
    pageTokens: config.MOIETY_KV_PAGE_TOKENS,
    slidingWindow,
    maxSequences: config.MOIETY_MAX_SEQUENCES,
    stepTokens: config.MOIETY_STEP_TOKENS,
  });
}

interface WatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly engine: Engine;
  readonly pool: ExpertPool;
  beat(): Promise<void>;
}

/** Takes requests only while every expert can be reached, and tells the gateways every second that the worker lives. */
function watch({ clock, logger, engine, pool, beat }: WatchOptions): () => Promise<void> {
  const stopping = new AbortController();
  let beaten = Number.NEGATIVE_INFINITY;
  const run = async () => {
    while (!stopping.signal.aborted) {
      const complete = pool.missing().length === 0;
      engine.pause(!complete);
      if (complete && clock.monotonicMs() - beaten >= BEAT_INTERVAL_MS) {
        beaten = clock.monotonicMs();
        beat().catch((error: unknown) => logger.warn({ err: error }, "beat failed"));
      }
      await clock.sleep(WATCH_INTERVAL_MS, stopping.signal).catch(() => {});
    }
  };
  const running = run();
  return () => {
    stopping.abort();
    return running;
  };
}

async function closeAll(parts: Parts, http: ProcessServer, drainMs: number): Promise<void> {
  await parts.beginClosing();
  await parts.engine.drain(drainMs);
  await Promise.all([parts.engine.stop(), parts.consumer.close()]);
  await parts.control?.close();
  await parts.pool.close();
  await parts.model.close();
  await http.close();
}
