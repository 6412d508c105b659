export {
  type BatchChange,
  type BatchClaim,
  type BatchId,
  type BatchLedger,
  type LineResult,
  newBatchId,
  parseBatchId,
  type StoredBatch,
  type TokenCounts,
} from "./batches/batch-ledger.js";
export { type BullAlone, openBullAlone, serveBullAlone } from "./bench/bull-alone.js";
export { createRequestConsumer, type RequestConsumerOptions } from "./consumer.js";
export { expectedTokens } from "./expected-tokens.js";
export {
  type FileId,
  type FileIndex,
  type FileLimits,
  type FileRecord,
  NO_FILE_LIMITS,
  newFileId,
  parseFileId,
} from "./files/file-index.js";
export { queueKeys } from "./keys.js";
export { type LedgerOptions, type Ledgers, openLedgers } from "./ledgers.js";
export type { Page, PageQuery } from "./page.js";
export { patiently } from "./patience.js";
export { createRequestProducer, type RequestProducerOptions } from "./producer.js";
export { connectRedis, disconnectRedis, type QueueConnectionOptions, type RedisConnection } from "./redis-connection.js";
export { asArray, asText, RedisScript } from "./redis-script.js";
export { MAX_PRIORITY } from "./turns.js";
export * from "./types.js";
