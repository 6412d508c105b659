import { createLogger, type Environment, parseConfig, runUntilSignal } from "@moiety/runtime";
import { attentionWorkerConfigSchema } from "./config.js";
import { type AttentionWorker, startAttentionWorker } from "./server.js";

/** Kept of the drain timeout to give back what was not finished, and to disconnect. */
const RELEASE_MS = 5_000;

/**
 * Runs an attention worker until SIGTERM: then it takes no more requests, finishes what it can within the drain timeout less five
 * seconds (at least half of it), and gives the rest back to the queue, where others go on from the token logs. Ends with 1
 * when it can serve nobody any more. @throws AppError when the configuration or the checkpoint is wrong, or an address is taken.
 */
export async function main(environment: Environment): Promise<void> {
  const config = parseConfig(attentionWorkerConfigSchema, environment);
  const logger = createLogger({ service: "attention-worker", instance: config.MOIETY_WORKER_ID, level: config.MOIETY_LOG_LEVEL });
  let worker: AttentionWorker | undefined;
  const onBroken = () => {
    const end = () => process.exit(1);
    setTimeout(end, RELEASE_MS);
    (worker?.close(0) ?? Promise.resolve()).then(end, end);
  };
  worker = await startAttentionWorker({ config, logger, onBroken });
  const timeoutMs = config.MOIETY_DRAIN_TIMEOUT_MS;
  const drainMs = Math.max(timeoutMs / 2, timeoutMs - RELEASE_MS);
  const running = worker;
  runUntilSignal({ logger, drainTimeoutMs: timeoutMs, drain: () => running.close(drainMs) });
}
