import { z } from "zod";

const timeMs = z.number().int();
const count = z.number().int().min(0);

const faultSchema = z.object({
  code: z.string(),
  message: z.string(),
  /** Of the input, from 1. */
  line: count.exactOptional(),
  param: z.string().exactOptional(),
});

const lines = { total: count, startedAtMs: timeMs };
/** Absent when the batch ended before its input was checked. */
const started = z.object(lines).exactOptional();
const filed = {
  outputFileId: z.string().exactOptional(),
  errorFileId: z.string().exactOptional(),
  /** Lines that had no result when the batch was given up, and got an error instead. */
  unfinished: count,
};

/**
 * | state       | meaning                                                    | leaves when                                             |
 * |-------------|------------------------------------------------------------|---------------------------------------------------------|
 * | validating  | waits for a gateway, or one reads its input                | validated, faulty, cancelled, its window is over        |
 * | in_progress | its lines run                                              | every line has a result, cancelled, its window is over  |
 * | finalizing  | no more results are taken; its files are written           | they are                                                |
 * | cancelling  | the same, for a batch that was cancelled                   | they are                                                |
 * | failed      | its input was at fault: no line ran                        | never                                                   |
 * | completed   | every line has a result                                    | never                                                   |
 * | expired     | its window was over before                                 | never                                                   |
 * | cancelled   | it was cancelled before                                    | never                                                   |
 */
const stateSchema = z.discriminatedUnion("status", [
  z.object({ status: z.literal("validating") }),
  z.object({ status: z.literal("in_progress"), ...lines }),
  z.object({ status: z.literal("finalizing"), end: z.enum(["completed", "expired"]), started, finalizingAtMs: timeMs }),
  z.object({ status: z.literal("cancelling"), started, cancellingAtMs: timeMs }),
  z.object({ status: z.literal("failed"), faults: z.array(faultSchema), failedAtMs: timeMs }),
  z.object({ status: z.literal("completed"), started, finalizingAtMs: timeMs, completedAtMs: timeMs, ...filed }),
  z.object({ status: z.literal("expired"), started, finalizingAtMs: timeMs, expiredAtMs: timeMs, ...filed }),
  z.object({ status: z.literal("cancelled"), started, cancellingAtMs: timeMs, cancelledAtMs: timeMs, ...filed }),
]);

export type BatchState = z.output<typeof stateSchema>;
export type BatchFault = z.output<typeof faultSchema>;

/** What is stored of a batch, beside its counts. */
export const batchDocumentSchema = z.object({
  endpoint: z.string(),
  model: z.string(),
  /** Of the key that it came with; absent: a gateway of an older version took it. */
  keyId: z.string().exactOptional(),
  inputFileId: z.string(),
  completionWindow: z.string(),
  createdAtMs: timeMs,
  expiresAtMs: timeMs,
  metadata: z.record(z.string(), z.string()).exactOptional(),
  /** How long the files that it makes are kept. */
  outputLifeMs: timeMs,
  state: stateSchema,
});

export type BatchDocument = z.output<typeof batchDocumentSchema>;

export interface FiledResults {
  readonly outputFileId?: string;
  readonly errorFileId?: string;
  readonly unfinished: number;
}

export type BatchEvent =
  | { readonly kind: "validated"; readonly total: number; readonly atMs: number }
  | { readonly kind: "faulty"; readonly faults: readonly BatchFault[]; readonly atMs: number }
  /** Every line has a result. */
  | { readonly kind: "recorded"; readonly atMs: number }
  | { readonly kind: "expire"; readonly atMs: number }
  | { readonly kind: "cancel"; readonly atMs: number }
  /** The files are written. */
  | { readonly kind: "filed"; readonly results: FiledResults; readonly atMs: number };

/** The next state; the same object when the event changes nothing. */
export function transition(state: BatchState, event: BatchEvent): BatchState {
  switch (event.kind) {
    case "validated":
      if (state.status !== "validating") return state;
      return { status: "in_progress", total: event.total, startedAtMs: event.atMs };
    case "faulty":
      return state.status === "validating" ? { status: "failed", faults: [...event.faults], failedAtMs: event.atMs } : state;
    case "recorded":
      return state.status === "in_progress" ? finalizing(state, "completed", event.atMs) : state;
    case "expire":
      return isRunning(state) ? finalizing(state, "expired", event.atMs) : state;
    case "cancel":
      return isRunning(state) ? { status: "cancelling", ...startOf(state), cancellingAtMs: event.atMs } : state;
    case "filed":
      return ended(state, event);
  }
}

type Running = Extract<BatchState, { status: "validating" | "in_progress" }>;
const isRunning = (state: BatchState): state is Running => state.status === "validating" || state.status === "in_progress";

const startOf = (state: Running) =>
  state.status === "validating" ? {} : { started: { total: state.total, startedAtMs: state.startedAtMs } };

const finalizing = (state: Running, end: "completed" | "expired", atMs: number): BatchState => ({
  status: "finalizing",
  end,
  ...startOf(state),
  finalizingAtMs: atMs,
});

function ended(state: BatchState, { results, atMs }: Extract<BatchEvent, { kind: "filed" }>): BatchState {
  if (state.status === "cancelling") return { ...state, ...results, status: "cancelled", cancelledAtMs: atMs };
  if (state.status !== "finalizing") return state;
  const { end, ...rest } = state;
  if (end === "completed") return { ...rest, ...results, status: "completed", completedAtMs: atMs };
  return { ...rest, ...results, status: "expired", expiredAtMs: atMs };
}

/** Whether nothing more happens to it. */
export function isEnded({ status }: BatchState): boolean {
  return status === "failed" || status === "completed" || status === "expired" || status === "cancelled";
}

/** Lines and when they began, once the input is checked. */
export function startOfBatch(state: BatchState): { readonly total: number; readonly startedAtMs: number } | undefined {
  if (state.status === "in_progress") return state;
  return "started" in state ? state.started : undefined;
}
