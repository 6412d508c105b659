import type { Device } from "./device.js";

/** Figures that a manufacturer publishes. */
export interface PublishedDevice {
  readonly memoryBytes: number;
  readonly readGbPerSecond: number;
  /** Dense, with f32 accumulation: bf16 matrix units of a GPU, f32 multiply-adds of a CPU. */
  readonly tflopPerSecond: number;
  readonly kind: "gpu" | "cpu";
  /** Of a CPU. */
  readonly cores?: number;
  readonly source: string;
}

const GB = 1e9;

/** Memory in the data sheets' decimal gigabytes, of which a driver keeps some: see the plan's headroom. */
export const PUBLISHED_DEVICES = {
  "rtx-3090": {
    memoryBytes: 24 * GB,
    readGbPerSecond: 936,
    tflopPerSecond: 71,
    kind: "gpu",
    source: "NVIDIA Ampere GA102 GPU Architecture, appendix: RTX 3090",
  },
  "rtx-4090": {
    memoryBytes: 24 * GB,
    readGbPerSecond: 1_008,
    tflopPerSecond: 165.2,
    kind: "gpu",
    source: "NVIDIA Ada GPU Architecture, appendix A: RTX 4090",
  },
  l4: {
    memoryBytes: 24 * GB,
    readGbPerSecond: 300,
    tflopPerSecond: 121,
    kind: "gpu",
    source: "NVIDIA L4 data sheet (242 TFLOPS with sparsity)",
  },
  l40s: {
    memoryBytes: 48 * GB,
    readGbPerSecond: 864,
    tflopPerSecond: 362,
    kind: "gpu",
    source: "NVIDIA L40S data sheet (362.05 TFLOPS, 733 with sparsity)",
  },
  a100: {
    memoryBytes: 80 * GB,
    readGbPerSecond: 2_039,
    tflopPerSecond: 312,
    kind: "gpu",
    source: "NVIDIA A100 data sheet, 80 GB SXM",
  },
  h100: {
    memoryBytes: 80 * GB,
    readGbPerSecond: 3_350,
    tflopPerSecond: 989,
    kind: "gpu",
    source: "NVIDIA H100 data sheet, SXM (1,979 TFLOPS with sparsity)",
  },
  h200: {
    memoryBytes: 141 * GB,
    readGbPerSecond: 4_800,
    tflopPerSecond: 989,
    kind: "gpu",
    source: "NVIDIA H200 data sheet, SXM (1,979 TFLOPS with sparsity)",
  },
  laptop: {
    memoryBytes: 32 * GB,
    readGbPerSecond: 89.6,
    tflopPerSecond: 0.845,
    kind: "cpu",
    cores: 8,
    source: "AMD Ryzen 7 7840U: two channels of DDR5-5600; 8 cores x 3.3 GHz (base) x 32 f32 operations per cycle",
  },
} as const satisfies Readonly<Record<string, PublishedDevice>>;

export type DeviceName = keyof typeof PUBLISHED_DEVICES;

export const DEVICE_NAMES = Object.keys(PUBLISHED_DEVICES) as readonly DeviceName[];

/**
 * What is reached of published figures. Reading: one bf16 row gets 84% of the memory's speed, many rows half of the f32 peak
 * (docs/benchmarks.md, kernels). GPUs are assumed to do as well; there is no kernel for them yet to be measured.
 */
const READ_SHARE = 0.8;
const COMPUTE_SHARE = 0.5;

/** On CPUs few rows are bound by unpacking and by loads: 21%, 30% and 50% of the f32 peak (docs/benchmarks.md, MXFP4). */
const CPU_SHARES = [
  { rows: 1, share: 0.21 },
  { rows: 8, share: 0.3 },
  { rows: 32, share: COMPUTE_SHARE },
] as const;

/** A published device with what kernels sustain on it. */
export function presetDevice(name: DeviceName): Device {
  const published: PublishedDevice = PUBLISHED_DEVICES[name];
  const peak = published.tflopPerSecond * 1e12;
  const shares = published.kind === "cpu" ? CPU_SHARES : [{ rows: 1, share: COMPUTE_SHARE }];
  const rates = shares.map(({ rows, share }) => ({ rows, flopPerSecond: peak * share }));
  return {
    kind: published.kind,
    ...(published.cores === undefined ? {} : { threads: published.cores }),
    memoryBytes: published.memoryBytes,
    readBytesPerSecond: published.readGbPerSecond * GB * READ_SHARE,
    bf16: rates,
    mxfp4: rates,
  };
}
