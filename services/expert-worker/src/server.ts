import { randomUUID } from "node:crypto";
import { type Clock, type PlacementTable, parseWorkerId, systemClock, type WorkerId } from "@moiety/core";
import { activationFor, openKernels } from "@moiety/kernels";
import { openCheckpoint } from "@moiety/model";
import { expertRowService, modelIdentity } from "@moiety/proto";
import {
  advertisedAddress,
  ControlClient,
  createRegistry,
  createServer,
  type Logger,
  listen,
  openTracing,
  openTransport,
  stalled,
  startProcessServer,
  type Transport,
} from "@moiety/runtime";
import type { ExpertWorkerConfig } from "./config.js";
import { type ExpertSource, WorkerParts } from "./worker-parts.js";

export interface ExpertWorkerOptions {
  readonly config: ExpertWorkerConfig;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export interface ServeExpertsOptions extends ExpertWorkerOptions {
  readonly source: ExpertSource;
  /** False: no router; placements come through `applyPlacement` alone. */
  readonly joinRouter?: boolean;
  /** Last step of `close`. */
  readonly onClosed?: () => Promise<void>;
}

export interface ExpertWorker {
  readonly id: WorkerId;
  /** Where attention workers reach it: host:port or unix:path. */
  readonly address: string;
  /** Port of /health, /ready and /metrics. */
  readonly httpPort: number;
  /** The newest placement whose experts it holds completely; 0 before the first. */
  readonly readyEpoch: number;
  applyPlacement(table: PlacementTable): void;
  /** Hands its experts over, finishes what is queued, and lets go of everything. */
  close(): Promise<void>;
}

/**
 * Opens the checkpoint and the kernels, and serves experts until it is closed.
 * @throws AppError for a checkpoint that cannot be read, kernels that are not there, or an address that is taken.
 */
export async function startExpertWorker(options: ExpertWorkerOptions): Promise<ExpertWorker> {
  const { config, logger } = options;
  const checkpoint = await openCheckpoint(config.MOIETY_MODEL);
  for (const warning of checkpoint.warnings) logger.warn({ warning }, "checkpoint");
  const level = config.MOIETY_KERNEL_LEVEL;
  const kernels = openKernels({ threads: config.MOIETY_THREADS, ...(level !== undefined && { level }) });
  const { fingerprint, config: model } = checkpoint;
  const activation = activationFor(config.MOIETY_ACTIVATION, checkpoint.expertFormat);
  const source: ExpertSource = {
    model: modelIdentity({ fingerprint, config: model, activation, kernelFamily: kernels.familyOf(activation) }),
    engine: kernels.createExpertEngine({ config: model, activation }),
    expertRefs: (layer, expert) => checkpoint.expertRefs(layer, expert),
    runningMs: () => kernels.runningMs,
  };
  logger.info({ fingerprint, level: kernels.level, threads: kernels.threads, activation }, "checkpoint opened");
  try {
    return await serveExperts({ ...options, source, onClosed: () => kernels.close() });
  } catch (error) {
    await kernels.close();
    throw error;
  }
}

/** @throws AppError UNAVAILABLE when an address is taken; INVALID_ARGUMENT for a worker id that is none. */
export async function serveExperts(options: ServeExpertsOptions): Promise<ExpertWorker> {
  const { config, source, logger, clock = systemClock } = options;
  const id = parseWorkerId(config.MOIETY_WORKER_ID);
  const registry = createRegistry({ service: "expert-worker", instance: id });
  const transport = await openTransport({ config, logger, registry });
  const tracing = await openTracing({ config, service: "expert-worker", instance: id, logger, registry });
  let address = config.MOIETY_LISTEN_ADDRESS;
  let control: ControlClient | undefined;
  const parts = new WorkerParts({
    id,
    config,
    registry,
    transport,
    tracing,
    source,
    logger,
    clock,
    selfAddress: () => address,
    onHoldingsChange: () => control?.reportSoon(),
  });
  const { links, executor, holdings } = parts;
  const server = createServer();
  server.addService(expertRowService, links.implementation);
  const listening = await listen(server, config.MOIETY_LISTEN_ADDRESS, transport);
  address = advertisedAddress(config.MOIETY_LISTEN_ADDRESS, listening.port, config.MOIETY_ADVERTISE_ADDRESS);
  const http = await startProcessServer({
    host: config.MOIETY_HTTP_HOST,
    port: config.MOIETY_HTTP_PORT,
    registry: parts.registry,
    readiness: () => holdings.missing(),
    liveness: () => stalled(source.runningMs(), config),
  }).catch(async (error: unknown) => {
    await Promise.all([listening.close(), holdings.close()]);
    throw error;
  });
  if (options.joinRouter !== false) control = joinRouter({ ...options, id, address, transport, clock, parts });
  logger.info({ address, httpPort: http.port }, "expert worker listening");
  const close = async () => {
    await control?.leave(config.MOIETY_HAND_OVER_MS);
    links.refuseNew();
    await executor.whenIdle();
    links.close();
    await Promise.all([listening.close(), http.close(), holdings.close()]);
    transport.close();
    await tracing.close();
    await options.onClosed?.();
  };
  return {
    id,
    address,
    httpPort: http.port,
    get readyEpoch() {
      return holdings.readyEpoch;
    },
    applyPlacement: (table) => holdings.apply(table),
    close,
  };
}

interface JoinOptions extends ServeExpertsOptions {
  readonly id: WorkerId;
  readonly address: string;
  readonly clock: Clock;
  readonly parts: WorkerParts;
  readonly transport: Transport;
}

function joinRouter({ config, source, logger, clock, id, address, transport, parts }: JoinOptions): ControlClient {
  const { holdings, executor, heat } = parts;
  const { model, engine } = source;
  const control = new ControlClient({
    routerAddress: config.MOIETY_ROUTER_ADDRESS,
    transport,
    worker: {
      workerId: id,
      incarnation: randomUUID(),
      kind: "expert",
      address,
      model,
      capacitySlots: config.MOIETY_CAPACITY_SLOTS || model.layers * model.experts,
    },
    status: () => ({
      readyEpoch: holdings.readyEpoch,
      queuedCalls: executor.queuedCalls,
      runningCalls: executor.runningCalls,
      residentBytes: engine.residentBytes,
      loads: heat.take(),
      fault: holdings.fault,
    }),
    logger,
    clock,
  });
  control.onPlacement((table) => holdings.apply(table));
  control.start();
  return control;
}
