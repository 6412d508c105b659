export { ACTIVATION_CHOICES, type ActivationChoice, activationFor } from "./activation.js";
export {
  type BenchmarkOptions,
  benchmarkKernels,
  formatBenchmark,
  type KernelBenchmark,
  type LinearResult,
  type MachineLimits,
} from "./benchmark.js";
export { availableLevels, KERNEL_FAMILY, openKernels } from "./open-kernels.js";
export { openPrimitives, type Primitives, type RopeTables } from "./primitives.js";
export * from "./types.js";
