import { type Clock, systemClock } from "@moiety/core";
import { BatchLedger } from "./batches/batch-ledger.js";
import { FileIndex } from "./files/file-index.js";
import { ledgerKeys } from "./ledger-keys.js";
import { patiently } from "./patience.js";
import { connectRedis, disconnectRedis, type QueueConnectionOptions } from "./redis-connection.js";

export interface LedgerOptions extends QueueConnectionOptions {
  /** How long {@link Ledgers.patiently} waits for a Redis that is away. Default 10,000. */
  readonly patienceMs?: number;
  readonly clock?: Clock;
}

/** What is kept about files and batches. Calls wait while Redis is away; whoever cannot wait wraps them in {@link patiently}. */
export interface Ledgers {
  readonly files: FileIndex;
  readonly batches: BatchLedger;
  /** @throws AppError UNAVAILABLE when Redis does not answer in time. */
  patiently<T>(work: Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Connects at once, in the background. */
export function openLedgers(options: LedgerOptions): Ledgers {
  const keys = ledgerKeys(options.prefix ?? "moiety");
  const redis = connectRedis(options, "ledgers");
  const { patienceMs = 10_000, clock = systemClock } = options;
  return {
    files: new FileIndex(redis, keys),
    batches: new BatchLedger(redis, keys),
    patiently: (work) => patiently(work, { clock, patienceMs }),
    close: () => disconnectRedis(redis),
  };
}
