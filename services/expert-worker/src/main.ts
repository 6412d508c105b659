import { createLogger, type Environment, parseConfig, runUntilSignal } from "@moiety/runtime";
import { expertWorkerConfigSchema } from "./config.js";
import { startExpertWorker } from "./server.js";

/** Runs an expert worker until SIGTERM. @throws AppError when the configuration or the checkpoint is wrong, or an address is taken. */
export async function main(environment: Environment): Promise<void> {
  const config = parseConfig(expertWorkerConfigSchema, environment);
  const logger = createLogger({ service: "expert-worker", instance: config.MOIETY_WORKER_ID, level: config.MOIETY_LOG_LEVEL });
  const worker = await startExpertWorker({ config, logger });
  runUntilSignal({ logger, drainTimeoutMs: config.MOIETY_DRAIN_TIMEOUT_MS, drain: () => worker.close() });
}
