import { AppError } from "@moiety/core";
import { pino } from "pino";

/**
 * What a log line says of an error. Only what is known to be harmless: libraries hang all sorts of things on their errors, a Redis
 * client the whole command, and with it a prompt.
 */
export function loggedError(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const { type, message, stack } = pino.stdSerializers.err(error);
  const common = { type, message, stack };
  if (error instanceof AppError) return { ...common, code: error.code, retryable: error.retryable, details: error.details };
  const { code } = error as Error & { code?: unknown };
  return typeof code === "string" || typeof code === "number" ? { ...common, code } : common;
}
