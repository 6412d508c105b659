import type { KvCacheOptions } from "./kv-cache.js";

export interface KvCapacityOptions {
  /** Tokens whose keys and values the full layers hold. */
  readonly tokens: number;
  readonly pageTokens: number;
  readonly slidingWindow: number;
  readonly maxSequences: number;
  readonly stepTokens: number;
}

/**
 * Sizes both pools. The sliding pool holds, for every sequence at once, the window before its rows and a step's rows, so that only the
 * full pool ever runs short; and one more window per sequence, for the ends of prefixes that may be hit again. Each pool has a
 * page more for the canary.
 */
export function kvPools(options: KvCapacityOptions): KvCacheOptions {
  const { tokens, pageTokens, slidingWindow, maxSequences, stepTokens } = options;
  const windowPages = Math.ceil(slidingWindow / pageTokens);
  // A run of n positions touches at most ceil(n / pageTokens) + 1 pages; the window and the rows are two runs.
  const live = maxSequences * (windowPages + 3) + Math.ceil(stepTokens / pageTokens);
  return {
    pageTokens,
    slidingWindow,
    fullPages: Math.ceil(tokens / pageTokens) + 1,
    slidingPages: live + maxSequences * windowPages + 1,
  };
}
