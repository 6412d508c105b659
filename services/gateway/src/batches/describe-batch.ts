import type { Batch } from "./batch-records.js";
import { type BatchState, startOfBatch } from "./batch-state.js";

const seconds = (timeMs: number | undefined): number | null => (timeMs === undefined ? null : Math.floor(timeMs / 1_000));

/** When a batch came to where it is. */
function timesOf(state: BatchState) {
  return {
    in_progress_at: seconds(startOfBatch(state)?.startedAtMs),
    finalizing_at: seconds("finalizingAtMs" in state ? state.finalizingAtMs : undefined),
    completed_at: seconds(state.status === "completed" ? state.completedAtMs : undefined),
    failed_at: seconds(state.status === "failed" ? state.failedAtMs : undefined),
    expired_at: seconds(state.status === "expired" ? state.expiredAtMs : undefined),
    cancelling_at: seconds("cancellingAtMs" in state ? state.cancellingAtMs : undefined),
    cancelled_at: seconds(state.status === "cancelled" ? state.cancelledAtMs : undefined),
  };
}

function errorsOf(state: BatchState): object | null {
  if (state.status !== "failed") return null;
  const data = state.faults.map(({ code, message, line, param }) => ({
    code,
    message,
    line: line ?? null,
    param: param ?? null,
  }));
  return { object: "list", data };
}

function usageOf({ tokens }: Batch): object {
  return {
    input_tokens: tokens.input,
    input_tokens_details: { cached_tokens: tokens.cached },
    output_tokens: tokens.output,
    output_tokens_details: { reasoning_tokens: tokens.reasoning },
    total_tokens: tokens.input + tokens.output,
  };
}

/** A batch as the API shows it. */
export function describeBatch(batch: Batch): object {
  const { document, completed, failed } = batch;
  const { state } = document;
  const results = "unfinished" in state ? state : undefined;
  return {
    id: batch.id,
    object: "batch",
    endpoint: document.endpoint,
    model: document.model,
    errors: errorsOf(state),
    input_file_id: document.inputFileId,
    completion_window: document.completionWindow,
    status: state.status,
    output_file_id: results?.outputFileId ?? null,
    error_file_id: results?.errorFileId ?? null,
    created_at: seconds(document.createdAtMs),
    expires_at: seconds(document.expiresAtMs),
    ...timesOf(state),
    request_counts: {
      total: startOfBatch(state)?.total ?? 0,
      completed,
      failed: failed + (results?.unfinished ?? 0),
    },
    usage: usageOf(batch),
    metadata: document.metadata ?? null,
  };
}
