import { type DestinationStream, type Logger, type LoggerOptions as PinoOptions, pino } from "pino";
import { loggedError } from "./logged-error.js";

export type { Logger };

export interface LoggerOptions {
  readonly service: string;
  /** The worker's or gateway's own id. */
  readonly instance: string;
  readonly level: string;
  /** Default: stdout. */
  readonly destination?: DestinationStream;
}

/** JSON lines on stdout. Messages are constant; what varies goes into fields; prompts, completions and keys go nowhere. */
export function createLogger(options: LoggerOptions): Logger {
  const settings: PinoOptions = {
    level: options.level,
    base: { service: options.service, instance: options.instance },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: loggedError },
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: ["req.headers.authorization", "headers.authorization", "authorization"], censor: "[redacted]" },
  };
  return options.destination ? pino(settings, options.destination) : pino(settings);
}
