import type { SchedulerLoad } from "./scheduler/scheduler.js";

export interface CapacityInput {
  readonly load: SchedulerLoad;
  readonly maxSequences: number;
  readonly stepTokens: number;
  /** Share of the KV pages in use, 0 to 1. */
  readonly kvUsage: number;
  /** Claims held, those included whose end is still being written. */
  readonly held: number;
}

/** Above this share of pages in use, another sequence would soon push one out. */
const FULL_USAGE = 0.95;

/**
 * How many claims a worker should hold: what it has, and as many more as it could start at once. With work waiting for pages, or
 * two steps of prefill ahead of it, it leaves jobs to workers that have room.
 */
export function claimCapacity({ load, maxSequences, stepTokens, kvUsage, held }: CapacityInput): number {
  const full = load.waiting > 0 || kvUsage >= FULL_USAGE || load.prefillTokens > 2 * stepTokens;
  return full ? held : held + Math.max(0, maxSequences - load.running);
}
