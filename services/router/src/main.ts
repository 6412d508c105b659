import { createLogger, type Environment, parseConfig, runUntilSignal } from "@moiety/runtime";
import { routerConfigSchema } from "./config.js";
import { startRouter } from "./server.js";

/** Runs a router until SIGTERM. @throws AppError when the configuration is wrong or an address is taken. */
export async function main(environment: Environment): Promise<void> {
  const config = parseConfig(routerConfigSchema, environment);
  const logger = createLogger({ service: "router", instance: config.MOIETY_ROUTER_ID, level: config.MOIETY_LOG_LEVEL });
  const router = await startRouter({ config, logger });
  runUntilSignal({ logger, drainTimeoutMs: config.MOIETY_DRAIN_TIMEOUT_MS, drain: () => router.close() });
}
