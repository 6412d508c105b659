import type { TenantId } from "@moiety/core";
import type { BatchId } from "./batches/batch-ledger.js";
import type { FileId } from "./files/file-index.js";
import { queueKeys } from "./keys.js";

/** Keys of files and batches. All share the queue's hash tag, so that scripts may touch several of them in Redis Cluster. */
export interface LedgerKeys {
  file(id: FileId | ""): string;
  filesOf(tenant: TenantId): string;
  /** Bytes stored, by tenant. */
  readonly fileBytes: string;
  /** Files by the time at which they go. */
  readonly filesDue: string;
  batch(id: BatchId | ""): string;
  batchesOf(tenant: TenantId): string;
  /** Batches that have not ended, by their creation. */
  readonly open: string;
  /** Open batches, by tenant. */
  readonly openOf: string;
  /** Ended batches that still have something in the store. */
  readonly litter: string;
  lease(id: BatchId | ""): string;
  /** A bit for each line that has a result. */
  done(id: BatchId): string;
  /** Results that are in no segment yet, by line. */
  results(id: BatchId): string;
  segments(id: BatchId): string;
}

/** @throws AppError INVALID_ARGUMENT for a prefix that would break the hash tag. */
export function ledgerKeys(prefix: string): LedgerKeys {
  const tag = queueKeys(prefix).prefix;
  return {
    file: (id) => `${tag}:file:${id}`,
    filesOf: (tenant) => `${tag}:files:${tenant}`,
    fileBytes: `${tag}:file-bytes`,
    filesDue: `${tag}:files-due`,
    batch: (id) => `${tag}:batch:${id}`,
    batchesOf: (tenant) => `${tag}:batches:${tenant}`,
    open: `${tag}:batches-open`,
    openOf: `${tag}:batches-open-of`,
    litter: `${tag}:batches-litter`,
    lease: (id) => `${tag}:batch-lease:${id}`,
    done: (id) => `${tag}:batch-done:${id}`,
    results: (id) => `${tag}:batch-results:${id}`,
    segments: (id) => `${tag}:batch-segments:${id}`,
  };
}
