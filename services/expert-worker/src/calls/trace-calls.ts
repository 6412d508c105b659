import type { Tracing } from "@moiety/runtime";
import type { WaitingCall } from "./call.js";

/** Calls that were answered together just now. */
export interface AnsweredBatch {
  readonly calls: readonly WaitingCall[];
  readonly queueMs: readonly number[];
  readonly computeMs: number;
}

/** A span for each call whose caller is traced, from its arrival to its answer. */
export function traceCalls(tracing: Tracing, { calls, queueMs, computeMs }: AnsweredBatch): void {
  if (!tracing.isOn) return;
  for (const [index, { arrivedMs, traceContext, layer, pairExperts }] of calls.entries()) {
    if (traceContext.length === 0) continue;
    const attributes = {
      "moiety.layer": layer,
      "moiety.pairs": pairExperts.length,
      "moiety.batch_calls": calls.length,
      "moiety.queue_us": (queueMs[index] ?? 0) * 1_000,
      "moiety.compute_us": computeMs * 1_000,
    };
    tracing.resume(traceContext, "experts", { kind: "server", startMs: arrivedMs, attributes })?.end();
  }
}
