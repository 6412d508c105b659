import type { AttentionEngine, Batch, BatchSpec } from "@moiety/kernels";
import type { TraceSpan } from "@moiety/runtime";
import type { ExpertPool, HopTimings } from "../experts/expert-pool.js";

/** What one layer's turn took. */
export interface LayerTimings extends HopTimings {
  /** From the call of `attend` to its end, waiting for the other micro-batch included. */
  readonly gateUs: number;
  readonly combineUs: number;
  readonly fanOut: number;
}

/** Looks at a batch between operations. Its presence makes every operation wait for the one before. */
export interface LayerObserver {
  attended(batch: Batch, layer: number): void;
  combined(batch: Batch, layer: number): void;
}

export interface ForwardModel {
  readonly attention: AttentionEngine;
  readonly experts: ExpertPool;
  readonly layers: number;
}

export interface LayersOptions<T> {
  readonly signal: AbortSignal;
  /** The operation on the finished residual stream: sampling or logits. Called before the last layer has been computed. */
  last(batch: Batch): Promise<T>;
  onLayer?(timings: LayerTimings): void;
  readonly observer?: LayerObserver;
  /** Absent: the step is not traced. */
  readonly trace?: TraceSpan | undefined;
}

/**
 * Takes a batch through all layers. Each operation is queued right behind the `combine` before it, without waiting for that one:
 * the kernels run them in order.
 * @throws whatever an operation rejected with, when no operation is pending any more.
 */
export async function runLayers<T>(model: ForwardModel, spec: BatchSpec, options: LayersOptions<T>): Promise<T> {
  const batch = model.attention.createBatch(spec);
  try {
    let gatingSinceMs = performance.now();
    let gated: Promise<unknown> = model.attention.attend(batch, 0);
    for (let layer = 0; ; layer++) {
      await gated;
      const gateUs = sinceUs(gatingSinceMs);
      options.observer?.attended(batch, layer);
      const { trace } = options;
      const call = { layer, rows: batch.rows, normed: batch.normed, expertIds: batch.expertIds, trace };
      const { parts, timings, fanOut } = await model.experts.run(call, options.signal);
      const combiningSinceMs = performance.now();
      gatingSinceMs = combiningSinceMs;
      const combined = model.attention.combine(batch, parts).then(() => {
        options.onLayer?.({ ...timings, gateUs, combineUs: sinceUs(combiningSinceMs), fanOut });
      });
      if (options.observer !== undefined) {
        await combined;
        options.observer.combined(batch, layer);
      }
      if (layer + 1 === model.layers) return await behind(combined, options.last(batch));
      gated = behind(combined, model.attention.attend(batch, layer + 1));
    }
  } finally {
    batch.release();
  }
}

/** Waits for both, whichever fails, because no operation may be pending when the batch is released. */
async function behind<T>(first: Promise<unknown>, second: Promise<T>): Promise<T> {
  // Its failure is waited for below.
  second.catch(() => undefined);
  try {
    await first;
  } catch (error) {
    await second.catch(() => undefined);
    throw error;
  }
  return await second;
}

function sinceUs(startedMs: number): number {
  return (performance.now() - startedMs) * 1000;
}
