import { randomUUID } from "node:crypto";
import type { WorkerId } from "@moiety/core";
import type { ExpertEngine } from "@moiety/kernels";
import type { Checkpoint } from "@moiety/model";
import { ControlClient, type Logger, plainTransport, type Transport } from "@moiety/runtime";
import type { ExpertPool } from "./experts/expert-pool.js";
import { type ExpertPoolObserver, silentObserver } from "./experts/expert-pool-observer.js";
import { LocalExpertPool } from "./experts/local-expert-pool.js";
import { RemoteExpertPool } from "./experts/remote-expert-pool.js";
import type { OpenModel } from "./model.js";

export interface OpenExperts {
  readonly pool: ExpertPool;
  /** The stream to the router; absent when experts are in this process. */
  readonly control: ControlClient | undefined;
  /** Resolves when all experts that belong into this process are in it. */
  readonly loaded: Promise<void>;
}

/** Loads of one expert each that are under way at a time. */
const PARALLEL_LOADS = 16;

/** Every expert, in this process. The pool is missing some until `loaded` resolves. */
export function openLocalExperts(model: OpenModel): OpenExperts {
  const { config } = model.checkpoint;
  const engine = model.kernels.createExpertEngine({ config, activation: model.activation });
  const rowBytes = config.hiddenSize * (model.activation === "f32" ? 4 : 2);
  const { layers, experts, expertsPerToken } = config;
  const pool = new LocalExpertPool({ engine, layers, experts, expertsPerToken, rowBytes });
  return { pool, control: undefined, loaded: loadAll(engine, model.checkpoint) };
}

async function loadAll(engine: ExpertEngine, checkpoint: Checkpoint): Promise<void> {
  const { layers, experts } = checkpoint.config;
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < layers * experts; index = next++) {
      await engine.load(checkpoint.expertRefs(Math.floor(index / experts), index % experts));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_LOADS }, lane));
}

export interface RemoteExpertsOptions {
  readonly model: OpenModel;
  readonly workerId: WorkerId;
  /** host:port or unix:path of the router. */
  readonly routerAddress: string;
  /** host:port or unix:path where expert workers pull their calls; port 0: any free one. */
  readonly listenAddress: string;
  /** Where expert workers reach it: host, host:port or unix:path. Absent: the listen address. */
  readonly advertiseAddress?: string;
  /** Absent: plain text. */
  readonly transport?: Transport;
  readonly observer?: ExpertPoolObserver;
  readonly logger: Logger;
}

/** Experts on the workers that the router places them on. @throws AppError UNAVAILABLE when the address is taken. */
export async function openRemoteExperts(options: RemoteExpertsOptions): Promise<OpenExperts> {
  const { model, workerId, routerAddress, listenAddress, advertiseAddress, transport = plainTransport, logger } = options;
  const pool = await RemoteExpertPool.start({
    selfId: workerId,
    listenAddress,
    transport,
    ...(advertiseAddress === undefined ? {} : { advertiseAddress }),
    model: model.identity,
    observer: logged(options.observer ?? silentObserver, logger),
  });
  const { identity, attention } = model;
  const control: ControlClient = new ControlClient({
    routerAddress,
    transport,
    worker: { workerId, incarnation: randomUUID(), kind: "attention", address: pool.address, model: identity, capacitySlots: 0 },
    status: () => ({
      readyEpoch: control.active?.epoch ?? 0,
      queuedCalls: 0,
      runningCalls: 0,
      residentBytes: attention.weightsBytes + attention.kvBytes,
      loads: [],
      fault: "",
    }),
    logger,
  });
  control.onPlacement((table) => pool.updatePlacement(table));
  control.start();
  return { pool, control, loaded: Promise.resolve() };
}

function logged(observer: ExpertPoolObserver, logger: Logger): ExpertPoolObserver {
  return {
    ...observer,
    linkChanged: (link) => {
      observer.linkChanged(link);
      logger.info({ ...link }, "link changed");
    },
    repeated: (call) => {
      observer.repeated(call);
      logger.warn({ ...call }, "expert call repeated");
    },
    parked: (call) => {
      observer.parked(call);
      logger.warn({ layer: call.layer, experts: call.experts.length }, "no live worker has an expert");
    },
  };
}
