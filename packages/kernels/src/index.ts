export type { Measurement, MeasurementSpec } from "./measurement.js";
export { availableLevels, KERNEL_FAMILY, openKernels } from "./open-kernels.js";
export { openPrimitives, type Primitives, type RopeTables } from "./primitives.js";
export * from "./types.js";
