import { AppError } from "@moiety/core";
import { z } from "zod";

/** Every key of a service's schema is an upper-case environment variable. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Parses a service's configuration out of the environment. Empty variables count as absent.
 * @throws AppError INVALID_ARGUMENT that lists every fault at once, by key, never with a value.
 */
export function parseConfig<Schema extends z.ZodType>(schema: Schema, environment: Environment): z.output<Schema> {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value !== ""));
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => `${issue.path.join(".") || "configuration"}: ${issue.message}`);
  throw new AppError("INVALID_ARGUMENT", `configuration is wrong:\n  ${faults.join("\n  ")}`, { details: { faults } });
}

const wholeNumber = ({ min, max }: { min: number; max: number }) =>
  z
    .string()
    .regex(/^[+-]?\d{1,15}$/, "expected a whole number")
    .transform(Number)
    .pipe(z.number().min(min).max(max));

/** Field types for values that come as text. */
export const env = {
  text: (fallback?: string) => (fallback === undefined ? z.string().min(1) : z.string().min(1).default(fallback)),
  integer: ({ fallback, ...bounds }: { min: number; max: number; fallback: number }) => wholeNumber(bounds).default(fallback),
  optionalInteger: (bounds: { min: number; max: number }) => wholeNumber(bounds).optional(),
  flag: (fallback: boolean) =>
    z
      .enum(["true", "false", "1", "0"])
      .transform((text) => text === "true" || text === "1")
      .default(fallback),
};

/** What a process has that computes. */
export const computeConfigShape = {
  MOIETY_STALL_MS: env
    .integer({ min: 1_000, max: 86_400_000, fallback: 300_000 })
    .describe("an operation of the kernels that computes longer is stuck: /health fails, so that the process is restarted"),
};

/** Why a process that computes has to be restarted; empty while it computes as it should. */
export function stalled(runningMs: number, config: { readonly MOIETY_STALL_MS: number }): readonly string[] {
  const { MOIETY_STALL_MS: longest } = config;
  return runningMs > longest ? [`kernels: one operation has computed for more than ${longest} ms`] : [];
}

/** What every process has. */
export const processConfigShape = {
  MOIETY_HTTP_HOST: env.text("127.0.0.1").describe("address of /health, /ready and /metrics"),
  MOIETY_HTTP_PORT: env
    .integer({ min: 0, max: 65535, fallback: 0 })
    .describe("port of /health, /ready and /metrics; 0: any free one"),
  MOIETY_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info").describe("least level logged"),
  MOIETY_DRAIN_TIMEOUT_MS: env
    .integer({ min: 0, max: 3_600_000, fallback: 30_000 })
    .describe("longest time to finish work after SIGTERM"),
};
