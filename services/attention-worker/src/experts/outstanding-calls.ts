import { AppError, ERROR_CODES, type ErrorCode, errorCodeOf } from "@moiety/core";
import type { ResultRows } from "@moiety/proto";
import type { PlannedDispatch } from "./dispatch-plan.js";

/** What became of one call. Everything but rows may be repeated elsewhere, or later. */
export type CallOutcome =
  | {
      readonly kind: "rows";
      /** `[pairs, hidden]`, a view of the received message. */
      readonly rows: Uint8Array;
      readonly encodeUs: number;
      readonly networkUs: number;
      readonly queueUs: number;
      readonly computeUs: number;
    }
  /** The worker answered with an error; `epoch` is the newest placement that it knows. */
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly message: string; readonly epoch: number }
  /** The link died before an answer came. */
  | { readonly kind: "lost"; readonly reason: string };

export interface LinkCall {
  readonly layer: number;
  readonly epoch: number;
  readonly dispatch: PlannedDispatch<unknown>;
  /** `[*, hidden]`: where the dispatch's rows lie until the call is settled. */
  readonly source: Uint8Array;
  /** Absent: the call is not traced. */
  readonly traceContext: Uint8Array | undefined;
  /** Once, perhaps before the call has been handed over. Must not send another call before it returns. */
  settle(outcome: CallOutcome): void;
}

/** A call of one link: waiting for room, or on its way. */
export interface OutstandingCall {
  readonly call: LinkCall;
  readonly callId: number;
  /** Bytes of the rows both ways. */
  readonly bytes: number;
  /** When it was written; absent while it waits for room. */
  sentMs?: number;
  /** What writing it took: the copy of the rows, most of all. */
  encodeUs: number;
}

/** Whether an answer is what the call asked for. */
export function outcomeOf(sent: OutstandingCall, answer: ResultRows, timing: { nowMs: number; rowBytes: number }): CallOutcome {
  if (answer.code !== 0) {
    return { kind: "refused", code: errorCodeOf(answer.code), message: answer.error, epoch: answer.epoch };
  }
  const pairs = sent.call.dispatch.slots.length;
  if (answer.rowCount !== pairs || answer.rows.length !== pairs * timing.rowBytes) {
    const message = `expected ${pairs} rows of ${timing.rowBytes} bytes, got ${answer.rowCount} in ${answer.rows.length} bytes`;
    return { kind: "refused", code: "INTERNAL", message, epoch: answer.epoch };
  }
  const { rows, queueUs, computeUs } = answer;
  const elapsedUs = (timing.nowMs - (sent.sentMs ?? timing.nowMs)) * 1_000;
  const networkUs = Math.max(0, elapsedUs - queueUs - computeUs);
  return { kind: "rows", rows, encodeUs: sent.encodeUs, networkUs, queueUs, computeUs };
}

/** Errors that say "not here, not now": the same call may succeed elsewhere or later. */
const REPEATABLE: ReadonlySet<ErrorCode> = new Set([
  "CANCELLED",
  "DEADLINE_EXCEEDED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "UNAVAILABLE",
]);
/** Repetitions of a call whose worker failed internally; another replica may be sound. */
const MAX_INTERNAL_REPEATS = 3;

/** The error that ends a layer's call, when a refusal is one that repetition cannot mend. */
export function fatalError(outcome: Extract<CallOutcome, { kind: "refused" }>, attempt: number): AppError | undefined {
  if (REPEATABLE.has(outcome.code)) return undefined;
  if (outcome.code === "INTERNAL" && attempt < MAX_INTERNAL_REPEATS) return undefined;
  return new AppError("INTERNAL", `expert worker refused a call: ${outcome.message}`, {
    retryable: false,
    details: { code: outcome.code, status: ERROR_CODES[outcome.code] },
  });
}
