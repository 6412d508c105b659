import { AppError } from "@moiety/core";
import { z } from "zod";
import type { ComputeRate, Device } from "./device.js";
import type { HopCost } from "./fleet.js";
import { parseInput } from "./parse-input.js";

const positive = z.number().positive();
const limitsSchema = z.object({
  threads: positive,
  readGbPerSecond: positive,
  fmaGflopPerSecond: positive,
  bf16GflopPerSecond: positive,
  int8GopPerSecond: positive,
});
const linearFormat = z.enum(["pairs", "mxfp4", "int8"]);
const linearSchema = z.object({
  format: linearFormat,
  threads: positive,
  rows: positive,
  gflopPerSecond: positive,
  ofRead: positive,
  ofArithmetic: positive,
});
const kernelsSchema = z.object({ limits: z.array(limitsSchema).min(1), linears: z.array(linearSchema) });
const hopSchema = z.object({
  hops: z.array(z.object({ bytes: positive, hop: z.object({ medianUs: positive }) })).min(2),
});
const caseSchema = z.object({
  kind: z.enum(["decode", "prefill"]),
  rows: positive,
  steps: positive,
  stepMs: positive,
  microBatches: z.number().min(1),
  shares: z.object({
    attend: z.number(),
    encode: z.number(),
    network: z.number(),
    queue: z.number(),
    compute: z.number(),
    combine: z.number(),
    sample: z.number(),
  }),
});
const modelSchema = z.object({
  checkpoint: z.object({ directory: z.string(), layers: positive, hiddenSize: positive, experts: positive, vocabSize: positive }),
  settings: z.object({ promptTokens: positive }),
  runs: z
    .array(
      z.object({
        experts: z.enum(["co-located", "sharded"]),
        activation: z.enum(["bf16", "int8", "f32"]),
        attentionThreads: positive,
        expertThreads: z.number().min(0),
        limits: limitsSchema,
        cases: z.array(caseSchema),
      }),
    )
    .min(1),
});
const measuredSchema = z.object({
  machine: z.object({ cpu: z.string(), cores: positive, memoryBytes: positive, date: z.string() }),
  quick: z.boolean(),
  benchmarks: z.object({ kernels: kernelsSchema.optional(), hop: hopSchema.optional(), model: modelSchema.optional() }),
});

/** What `moiety bench --json` wrote, as far as a plan needs it. */
export type Measured = z.output<typeof measuredSchema>;
export type MeasuredModel = z.output<typeof modelSchema>;
export type MeasuredRun = MeasuredModel["runs"][number];
export type MeasuredCase = MeasuredRun["cases"][number];
export type MeasuredLimits = z.output<typeof limitsSchema>;
type LinearFormat = z.output<typeof linearFormat>;

/** @throws AppError INVALID_ARGUMENT that names the field. */
export function parseMeasured(value: unknown, file: string): Measured {
  return parseInput(measuredSchema, value, file);
}

/** One benchmark's figures. @throws AppError INVALID_ARGUMENT that says how to get them. */
export function benchmarkOf<Name extends keyof Measured["benchmarks"]>(
  measured: Measured,
  name: Name,
): NonNullable<Measured["benchmarks"][Name]> {
  const figures = measured.benchmarks[name];
  if (figures !== undefined) return figures;
  const message = `benchmarks.${name} is missing; measure with: moiety bench kernels hop model --json FILE`;
  throw new AppError("INVALID_ARGUMENT", message, { details: { field: `benchmarks.${name}` } });
}

/**
 * The measured machine as a device: reading at its limit, arithmetic by rows as its linears ran, for the given number of threads or
 * the greatest measured. `now` are the limits at another time: what was bound by reading is scaled by one, the rest by the other, since
 * absolute figures of a shared machine drift, and shares of its limits less so. Activations are by default the fastest measured.
 * @throws AppError INVALID_ARGUMENT when the kernels were not measured with so many threads, or not with such activations.
 */
export function measuredDevice(
  measured: Measured,
  at: { readonly threads?: number; readonly now?: MeasuredLimits; readonly activation?: MeasuredRun["activation"] } = {},
): Device {
  const { limits, linears } = benchmarkOf(measured, "kernels");
  const threads = at.threads ?? Math.max(...limits.map((limit) => limit.threads));
  const then = limits.find((limit) => limit.threads === threads);
  if (then === undefined) throw notMeasured(`with ${threads} threads`);
  const { now = then, activation = linears.some(({ format }) => format === "int8") ? "int8" : "bf16" } = at;
  if (activation === "f32") throw notMeasured("with activations in f32");
  const readRatio = now.readGbPerSecond / then.readGbPerSecond;
  const rates = (format: LinearFormat): ComputeRate[] => {
    const chosen = linears.filter((linear) => linear.format === format && linear.threads === threads);
    if (chosen.length === 0) throw notMeasured(`as ${format} linears with ${threads} threads`);
    const arithmeticRatio = now[ARITHMETIC[format]] / then[ARITHMETIC[format]];
    return chosen
      .toSorted((left, right) => left.rows - right.rows)
      .map(({ rows, gflopPerSecond, ofRead, ofArithmetic }) => ({
        rows,
        flopPerSecond: gflopPerSecond * 1e9 * (ofRead > ofArithmetic ? readRatio : arithmeticRatio),
      }));
  };
  return {
    kind: "cpu",
    threads,
    memoryBytes: measured.machine.memoryBytes,
    readBytesPerSecond: now.readGbPerSecond * 1e9,
    bf16: rates("pairs"),
    mxfp4: rates(activation === "int8" ? "int8" : "mxfp4"),
  };
}

/** The limit that the linears' multiply-adds are held against. */
const ARITHMETIC = { pairs: "bf16GflopPerSecond", mxfp4: "fmaGflopPerSecond", int8: "int8GopPerSecond" } as const;

function notMeasured(how: string): AppError {
  return new AppError("INVALID_ARGUMENT", `benchmarks.kernels: nothing was measured ${how}`);
}

/**
 * The line `constant + slope * bytes` nearest to the measured hops, bytes of both directions added, by least squares of relative errors
 * (weights 1/y^2), so that the small hops of decoding count as much as the large ones of a prefill. Neither is negative.
 */
export function fitHop(hops: readonly { readonly bytes: number; readonly medianUs: number }[]): HopCost {
  let [w, wx, wy, wxx, wxy] = [0, 0, 0, 0, 0];
  for (const { bytes, medianUs } of hops) {
    const weight = 1 / medianUs ** 2;
    const kb = (2 * bytes) / 1_000;
    w += weight;
    wx += weight * kb;
    wy += weight * medianUs;
    wxx += weight * kb * kb;
    wxy += weight * kb * medianUs;
  }
  const spread = w * wxx - wx * wx;
  const usPerKb = spread > 0 ? Math.max(0, (w * wxy - wx * wy) / spread) : 0;
  return { constantUs: Math.max(0, (wy - usPerKb * wx) / w), usPerKb };
}

/** The measured data plane. @throws AppError INVALID_ARGUMENT when it was not measured. */
export function measuredHop(measured: Measured): HopCost {
  const { hops } = benchmarkOf(measured, "hop");
  return fitHop(hops.map(({ bytes, hop }) => ({ bytes, medianUs: hop.medianUs })));
}
