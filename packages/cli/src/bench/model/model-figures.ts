import type { Activation, KernelLevel, MachineLimits } from "@moiety/kernels";
import type { CaseFigures, CaseSettings } from "./model-cases.js";

/** Of the sharded runs. */
export const EXPERT_WORKERS = 2;

/** All cases on one arrangement of the experts. */
export interface ModelRun {
  readonly experts: "co-located" | "sharded";
  readonly activation: Activation;
  readonly level: KernelLevel;
  /** Compute threads of the process that does everything but remote experts. */
  readonly attentionThreads: number;
  /** Of each expert worker; 0 when co-located. */
  readonly expertThreads: number;
  /** The better of those measured just before and just after. */
  readonly limits: MachineLimits;
  readonly cases: readonly CaseFigures[];
}

export interface ModelFigures {
  readonly checkpoint: {
    readonly directory: string;
    readonly layers: number;
    readonly hiddenSize: number;
    readonly experts: number;
    readonly vocabSize: number;
  };
  readonly routing: "synthetic";
  readonly settings: CaseSettings;
  readonly runs: readonly ModelRun[];
}
