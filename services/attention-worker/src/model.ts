import {
  type Activation,
  type ActivationChoice,
  type AttentionEngine,
  activationFor,
  type KernelLevel,
  type Kernels,
  type KvPoolSpec,
  openKernels,
} from "@moiety/kernels";
import { type Checkpoint, openCheckpoint } from "@moiety/model";
import { type ModelIdentity, modelIdentity } from "@moiety/proto";

export interface OpenModelOptions {
  readonly directory: string;
  readonly threads: number;
  /** Absent: the best that this CPU has. */
  readonly level?: KernelLevel;
  readonly activation: ActivationChoice;
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
  const { directory, threads, level } = options;
  const checkpoint = await openCheckpoint(directory);
  const activation = activationFor(options.activation, checkpoint.expertFormat);
  const kernels = await openKernels({ threads, ...(level === undefined ? {} : { level }) });
  const { config } = checkpoint;
  const kv = options.kv(checkpoint);
  const attention = await kernels.createAttentionEngine({ config, refs: checkpoint.attentionRefs(), activation, kv });
  const identity = modelIdentity({
    fingerprint: checkpoint.fingerprint,
    config,
    activation,
    kernelFamily: kernels.familyOf(activation),
  });
  const close = async () => {
    attention.close();
    await kernels.close();
  };
  return { checkpoint, kernels, attention, identity, activation, close };
}
