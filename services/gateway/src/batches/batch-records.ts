import { AppError } from "@moiety/core";
import { type BatchClaim, type BatchId, type BatchLedger, parseFileId, type StoredBatch } from "@moiety/queue";
import { type BatchDocument, type BatchEvent, batchDocumentSchema, isEnded, transition } from "./batch-state.js";

/** A batch as it was last read. */
export interface Batch extends Omit<StoredBatch, "document"> {
  readonly document: BatchDocument;
}

/** @throws AppError DATA_LOSS for what no gateway has written. */
export function readBatch(stored: StoredBatch): Batch {
  const { document, ...rest } = stored;
  const parsed = batchDocumentSchema.safeParse(JSON.parse(document));
  if (parsed.success) return { ...rest, document: parsed.data };
  const fields = parsed.error.issues.map((issue) => issue.path.join("."));
  throw new AppError("DATA_LOSS", "a stored batch cannot be read", { retryable: false, details: { batch: stored.id, fields } });
}

export async function findBatch(ledger: BatchLedger, id: BatchId): Promise<Batch | undefined> {
  const stored = await ledger.find(id);
  return stored === undefined ? undefined : readBatch(stored);
}

/** A holder was told that another has the batch now. */
export const claimLost = (): AppError => new AppError("ABORTED", "another gateway has taken the batch over");

/**
 * Lets something happen to a batch, whatever else happens to it meanwhile. Gives the batch after it.
 * @throws AppError NOT_FOUND; ABORTED when the claim, if one is given, is lost.
 */
export async function applyEvent(ledger: BatchLedger, id: BatchId, event: BatchEvent, claim?: BatchClaim): Promise<Batch> {
  for (;;) {
    const batch = await findBatch(ledger, id);
    if (batch === undefined) throw new AppError("NOT_FOUND", "there is no such batch");
    const state = transition(batch.document.state, event);
    if (state === batch.document.state) return batch;
    const document = { ...batch.document, state };
    const outcome = await ledger.replace({
      id,
      inputFileId: parseFileId(document.inputFileId),
      version: batch.version,
      document: JSON.stringify(document),
      accepts: state.status === "in_progress",
      ended: isEnded(state),
      nowMs: event.atMs,
      ...(claim === undefined ? {} : { fence: claim.fence }),
    });
    if (outcome === "fenced" || (outcome === "gone" && claim !== undefined)) throw claimLost();
    if (outcome === "replaced") return { ...batch, version: batch.version + 1, document };
  }
}
