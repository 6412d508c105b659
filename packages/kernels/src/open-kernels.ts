import { AppError, ERROR_CODES, type ErrorCode } from "@moiety/core";
import { loadAddon, type NativeKernels } from "./addon.js";
import type { Activation, KernelLevel, Kernels, KernelsOptions } from "./types.js";

/**
 * Names the canonical order of sums: a fused multiply-add chain per each of 16 lanes, and one tree over the lanes. All
 * levels give the same bits, so it is one name; a kernel that reduces in another order needs another.
 */
export const KERNEL_FAMILY = "cpu-f32-16lane-1";

/** The same with dense linears in pairs of bf16, one chain of them per output. */
const BF16_KERNEL_FAMILY = `${KERNEL_FAMILY}+bf16-pairs-1`;

/** That with experts in int8: exact sums of blocks of 32, and one chain of fused multiply-adds over the blocks. */
const INT8_KERNEL_FAMILY = `${BF16_KERNEL_FAMILY}+int8-block32-1`;

const FAMILIES: Readonly<Record<Activation, string>> = {
  f32: KERNEL_FAMILY,
  bf16: BF16_KERNEL_FAMILY,
  int8: INT8_KERNEL_FAMILY,
};

function kernelFamilyOf(activation: Activation): string {
  return FAMILIES[activation];
}

const MAX_THREADS = 256;

/** The levels that this build and this CPU have, the slowest first. */
export function availableLevels(): readonly KernelLevel[] {
  return loadAddon().availableLevels();
}

/**
 * Opens the addon with its own threads. FAILED_PRECONDITION if the addon is not built or the level is not one of
 * {@link availableLevels}; INVALID_ARGUMENT for a number of threads that makes no sense.
 */
export function openKernels(options: KernelsOptions): Kernels {
  return Object.assign(openNative(options), { family: KERNEL_FAMILY, familyOf: kernelFamilyOf });
}

/** The native handle, with its measuring functions. */
export function openNative(options: KernelsOptions): NativeKernels {
  const { threads } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw new AppError("INVALID_ARGUMENT", `threads is ${threads}; an integer of 1 to ${MAX_THREADS} was expected`);
  }
  const addon = loadAddon();
  const level = options.level ?? addon.bestLevel();
  const levels = addon.availableLevels();
  if (!levels.includes(level)) {
    throw new AppError("FAILED_PRECONDITION", `level ${level} is not available; this CPU and build have ${levels.join(", ")}`);
  }
  return new addon.Kernels(level, threads, toAppError);
}

/** The one place where native faults become errors of ours. */
function toAppError(code: string, message: string): AppError {
  return new AppError(code in ERROR_CODES ? (code as ErrorCode) : "INTERNAL", message);
}
