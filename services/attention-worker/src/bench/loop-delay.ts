import type { IntervalHistogram } from "node:perf_hooks";

/** How much later than asked an event loop ran a timer, in milliseconds. */
export interface LoopDelay {
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Of a histogram with a resolution of 1 ms, which counts that millisecond itself. */
export function loopDelayOf(histogram: IntervalHistogram): LoopDelay {
  const beyond = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 1);
  return {
    medianMs: beyond(histogram.percentile(50)),
    p99Ms: beyond(histogram.percentile(99)),
    maxMs: beyond(histogram.max),
  };
}
