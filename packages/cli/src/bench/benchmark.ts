import type { Activation, KernelLevel } from "@moiety/kernels";

export interface BenchmarkOptions {
  /** Compute threads to measure with, one after the other. Default: the benchmark's own. */
  readonly threads?: readonly number[];
  /** Compute threads of each expert worker of `model`. Default: half of `threads`, for there are two. */
  readonly expertThreads?: number;
  /** Instruction set. Default: the best of this CPU. */
  readonly level?: KernelLevel;
  /** Number formats of activations to measure with, one after the other. */
  readonly activations: readonly Activation[];
  /** Folder of the checkpoint. Default for `model`: a slice of random weights in the data folder, made on first use; for `prompt`: the default model. */
  readonly checkpoint?: string;
  /** Concurrent streams of `gateway`. Default: the benchmark's own. */
  readonly streams?: number;
  /** Requests of `memory`. Default: the benchmark's own. */
  readonly requests?: number;
  /** Whether `gateway` gives the gateway a core of its own. */
  readonly pin?: boolean;
  /** Small sizes and short times: whether it works, not how fast it is. */
  readonly quick: boolean;
  /** Absolute; holds made checkpoints, and logs of the processes that are started. */
  readonly dataDir: string;
  /** Tells the user one line of progress. */
  readonly tell: (line: string) => void;
}

export interface BenchmarkResult<Figures = unknown> {
  /** For people. */
  readonly text: string;
  /** The same figures, for programs. */
  readonly figures: Figures;
}

/** Something that `moiety bench` can measure. */
export interface Benchmark {
  readonly name: string;
  readonly summary: string;
  /** Run only when it is named. */
  readonly onlyNamed?: boolean;
  run(options: BenchmarkOptions): Promise<BenchmarkResult>;
}
