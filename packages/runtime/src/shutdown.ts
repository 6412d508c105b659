import { AppError, type Clock, systemClock } from "@moiety/core";
import type { Logger } from "./logger.js";

export interface RunOptions {
  readonly logger: Logger;
  readonly drainTimeoutMs: number;
  /** Finishes what was begun, refuses what is new, and lets go of everything. */
  drain(): Promise<void>;
  readonly clock?: Clock;
}

/**
 * Runs until SIGTERM or SIGINT, then drains and exits: 0 when the drain finished, 1 when it failed or took too long.
 * A second signal exits at once. An error that nobody handled is logged and exits with 1: the process is restarted
 * and the work resumed from the log, which is safer than going on in an unknown state.
 */
export function runUntilSignal(options: RunOptions): void {
  const { logger, clock = systemClock } = options;
  let draining = false;
  const stop = async (signal: string) => {
    if (draining) process.exit(1);
    draining = true;
    logger.info({ signal, drainTimeoutMs: options.drainTimeoutMs }, "draining");
    const timeout = clock.sleep(options.drainTimeoutMs).then(() => {
      throw new AppError("DEADLINE_EXCEEDED", "the drain took too long");
    });
    try {
      await Promise.race([options.drain(), timeout]);
      logger.info("stopped");
      process.exit(0);
    } catch (error) {
      logger.error({ err: error }, "drain failed");
      process.exit(1);
    }
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
  process.on("uncaughtException", (error) => {
    logger.fatal({ err: error }, "uncaught error");
    process.exit(1);
  });
}
