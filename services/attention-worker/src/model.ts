import {
  type Activation,
  type AttentionEngine,
  type ExpertEngine,
  type KernelLevel,
  type Kernels,
  type KvPoolSpec,
  openKernels,
} from "@moiety/kernels";
import { type Checkpoint, openCheckpoint } from "@moiety/model";
import { type ModelIdentity, modelIdentity } from "@moiety/proto";
import { LocalExpertPool } from "./experts/local-expert-pool.js";

export interface OpenModelOptions {
  readonly directory: string;
  readonly threads: number;
  /** Absent: the best that this CPU has. */
  readonly level?: KernelLevel;
  readonly activation: Activation;
  /** Pages, given the checkpoint's window. */
  kv(checkpoint: Checkpoint): KvPoolSpec;
}

/** A checkpoint with kernels to compute it. */
export interface OpenModel {
  readonly checkpoint: Checkpoint;
  readonly kernels: Kernels;
  readonly attention: AttentionEngine;
  readonly identity: ModelIdentity;
  readonly activation: Activation;
  close(): Promise<void>;
}

/** @throws AppError NOT_FOUND or INVALID_ARGUMENT for a checkpoint that cannot be served. */
export async function openModel(options: OpenModelOptions): Promise<OpenModel> {
  const { directory, threads, level, activation } = options;
  const checkpoint = await openCheckpoint(directory);
  const kernels = await openKernels({ threads, ...(level === undefined ? {} : { level }) });
  const { config } = checkpoint;
  const kv = options.kv(checkpoint);
  const attention = await kernels.createAttentionEngine({ config, refs: checkpoint.attentionRefs(), activation, kv });
  const identity = modelIdentity({ fingerprint: checkpoint.fingerprint, config, activation, kernelFamily: kernels.family });
  const close = async () => {
    attention.close();
    await kernels.close();
  };
  return { checkpoint, kernels, attention, identity, activation, close };
}

/** Loads of one expert each that are under way at a time. */
const PARALLEL_LOADS = 16;

/** Every expert, in this process. The pool is missing some until `loaded` resolves. */
export function openLocalExperts(model: OpenModel): { readonly pool: LocalExpertPool; readonly loaded: Promise<void> } {
  const { config } = model.checkpoint;
  const engine = model.kernels.createExpertEngine({ config, activation: model.activation });
  const rowBytes = config.hiddenSize * (model.activation === "f32" ? 4 : 2);
  const { layers, experts, expertsPerToken } = config;
  const pool = new LocalExpertPool({ engine, layers, experts, expertsPerToken, rowBytes });
  return { pool, loaded: loadAll(engine, model.checkpoint) };
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
