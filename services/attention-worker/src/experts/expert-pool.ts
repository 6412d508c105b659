import type { ExpertRowsPart } from "@moiety/kernels";
import type { TraceSpan } from "@moiety/runtime";

/** One layer's gated rows, on their way to the experts. */
export interface LayerCall {
  readonly layer: number;
  readonly rows: number;
  /** `[rows, hidden]` in the activation type. Not to be changed until `run`'s promise settles; not used afterwards. */
  readonly normed: Uint8Array;
  /** `[rows, expertsPerToken]`, best first. Likewise. */
  readonly expertIds: Uint16Array;
  /** Of the step; absent: it is not traced. */
  readonly trace?: TraceSpan | undefined;
}

/** Where the time of one layer's call went, in microseconds, of the slowest worker called. */
export interface HopTimings {
  readonly encodeUs: number;
  readonly networkUs: number;
  readonly queueUs: number;
  readonly computeUs: number;
}

export interface LayerResult {
  /** Together they cover every (row, choice) exactly once. */
  readonly parts: readonly ExpertRowsPart[];
  readonly timings: HopTimings;
  /** Workers that were called. */
  readonly fanOut: number;
}

/** The experts of the whole model, wherever they live: in this process, or on expert workers. */
export interface ExpertPool {
  /**
   * Runs the chosen experts of one layer. A lost, late or refusing worker costs a repeated call, to a replica or under a
   * newer placement; it waits for as long as an expert has no live worker.
   * @throws AppError CANCELLED once the signal aborts; INTERNAL for an answer that repetition cannot mend.
   */
  run(call: LayerCall, signal: AbortSignal): Promise<LayerResult>;
  /** Why the pool cannot serve every expert now; empty when it can. */
  missing(): readonly string[];
  close(): Promise<void>;
}
