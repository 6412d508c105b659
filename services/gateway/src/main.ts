import { createLogger, type Environment, type Logger, parseConfig, runUntilSignal } from "@moiety/runtime";
import { type GatewayConfig, gatewayConfigSchema } from "./config.js";
import { type Gateway, startGateway } from "./server.js";

function configure(environment: Environment): { readonly config: GatewayConfig; readonly logger: Logger } {
  const config = parseConfig(gatewayConfigSchema, environment);
  return {
    config,
    logger: createLogger({ service: "gateway", instance: config.MOIETY_GATEWAY_ID, level: config.MOIETY_LOG_LEVEL }),
  };
}

/** Starts a gateway and leaves its life to the caller. @throws AppError when the configuration is wrong or the port is taken. */
export async function serveGateway(environment: Environment): Promise<Gateway> {
  return startGateway(configure(environment));
}

/** Runs a gateway until SIGTERM. @throws AppError when the configuration is wrong or the port is taken. */
export async function main(environment: Environment): Promise<void> {
  const { config, logger } = configure(environment);
  const gateway = await startGateway({ config, logger });
  const drainTimeoutMs = config.MOIETY_LAME_DUCK_MS + config.MOIETY_DRAIN_TIMEOUT_MS;
  runUntilSignal({ logger, drainTimeoutMs, drain: () => gateway.close() });
}
