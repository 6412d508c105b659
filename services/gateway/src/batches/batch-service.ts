import { type Ledgers, openLedgers } from "@moiety/queue";
import type { FileStore } from "../files/file-store.js";
import { Janitor } from "../files/janitor.js";
import { openFileStore } from "../files/open-file-store.js";
import type { GatewayContext } from "../gateway-context.js";
import { BatchRunner } from "./batch-runner.js";

/** Files and batches of one gateway. */
export interface BatchService {
  readonly ledgers: Ledgers;
  readonly store: FileStore;
  /** Begins to work on batches. */
  start(): void;
  /** There is a new batch, or one was changed. */
  wake(): void;
  /** Lets go of the batches; files can still be read and written. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

/** Undefined when the gateway has no place for files. @throws AppError INVALID_ARGUMENT when it cannot write to it. */
export async function openBatchService(context: GatewayContext): Promise<BatchService | undefined> {
  const { config, clock, logger } = context;
  const store = await openFileStore(config);
  if (store === undefined) return undefined;
  const ledgers = openLedgers({
    redisUrl: config.MOIETY_REDIS_URL,
    prefix: config.MOIETY_REDIS_PREFIX,
    clock,
    onError: (error) => logger.warn({ err: error }, "ledger fault"),
  });
  const runner = new BatchRunner({ context, ledgers, store });
  const janitor = new Janitor({ ledgers, store, clock, logger });
  return {
    ledgers,
    store,
    start() {
      runner.start();
      janitor.start();
    },
    wake: () => runner.wake(),
    async stop() {
      janitor.stop();
      await runner.stop();
    },
    close: () => ledgers.close(),
  };
}
