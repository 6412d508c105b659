import { Queue, Worker } from "bullmq";
import { connectRedis, disconnectRedis } from "../redis-connection.js";

const NAME = "bench";
const PREFIX = "{bench}";

export interface BullAlone {
  /** Resolves when the job is in the queue. */
  add(): Promise<void>;
  close(): Promise<void>;
}

/** Jobs that hold nothing, for {@link serveBullAlone}. */
export function openBullAlone(redisUrl: string): BullAlone {
  const connection = connectRedis({ redisUrl }, "bench");
  const defaultJobOptions = { removeOnComplete: true, removeOnFail: true };
  const queue = new Queue(NAME, { connection, prefix: PREFIX, skipVersionCheck: true, defaultJobOptions });
  return {
    add: async () => {
      await queue.add("job", {});
    },
    close: async () => {
      await queue.close();
      await disconnectRedis(connection);
    },
  };
}

/** Takes jobs by BullMQ's own loop and completes each at once; `onDone` is called with every one. Beneath what the queue is built on. */
export async function serveBullAlone(redisUrl: string, concurrency: number, onDone: () => void): Promise<void> {
  const connection = connectRedis({ redisUrl }, "bench");
  const worker = new Worker(NAME, async () => undefined, { connection, prefix: PREFIX, concurrency, skipVersionCheck: true });
  worker.on("completed", onDone);
  await worker.waitUntilReady();
}
