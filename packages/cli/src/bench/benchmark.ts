import type { KernelLevel } from "@moiety/kernels";

export interface BenchmarkOptions {
  /** Compute threads to measure with, one after the other. Default: the benchmark's own. */
  readonly threads?: readonly number[];
  /** Instruction set. Default: the best of this CPU. */
  readonly level?: KernelLevel;
}

export interface BenchmarkResult {
  /** For people. */
  readonly text: string;
  /** The same figures, for programs. */
  readonly figures: unknown;
}

/** Something that `moiety bench` can measure. */
export interface Benchmark {
  readonly name: string;
  readonly summary: string;
  run(options: BenchmarkOptions): Promise<BenchmarkResult>;
}
