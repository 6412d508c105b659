import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { AppError } from "@moiety/core";
import type { Measurement, MeasurementSpec } from "./measurement.js";
import type { NativePrimitives } from "./primitives.js";
import type { KernelLevel, Kernels } from "./types.js";

/** The class that the addon defines: {@link Kernels} but for what no native code decides. */
export interface NativeKernels extends Omit<Kernels, "family" | "familyOf"> {
  measure(spec: MeasurementSpec): Promise<Measurement>;
}

/** What build/moiety_kernels.node exports. */
export interface Addon {
  readonly Kernels: new (
    level: KernelLevel,
    threads: number,
    makeError: (code: string, message: string) => Error,
  ) => NativeKernels;
  readonly primitives: NativePrimitives;
  availableLevels(): KernelLevel[];
  bestLevel(): KernelLevel;
}

/** From src/ and from dist/ alike. */
const ADDON_FILE = fileURLToPath(new URL("../build/moiety_kernels.node", import.meta.url));

let loaded: Addon | undefined;

/** Loads the addon once. FAILED_PRECONDITION when it is not built, or built for another system. */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  const hint = "build it with: make -C packages/kernels";
  if (!existsSync(ADDON_FILE)) throw new AppError("FAILED_PRECONDITION", `${ADDON_FILE} does not exist; ${hint}`);
  try {
    loaded = createRequire(import.meta.url)(ADDON_FILE) as Addon;
  } catch (cause) {
    throw new AppError("FAILED_PRECONDITION", `${ADDON_FILE} cannot be loaded; ${hint}`, { cause });
  }
  return loaded;
}
