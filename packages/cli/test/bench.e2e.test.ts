import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { benchCommand } from "../src/commands/bench.js";
import { moiety } from "./test-model.js";

const PATIENCE_MS = 120_000;

const folder = mkdtempSync(join(tmpdir(), "moiety-bench-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const positive = z.number().positive();
const share = z.number().min(0).max(1.000_001);
const spread = z.object({ median: z.number(), p99: z.number() });

const machineSchema = z.object({
  cpu: z.string(),
  cores: positive,
  memoryBytes: positive,
  kernelLevel: z.enum(["scalar", "avx2", "avx512", "neon"]),
  node: z.literal(process.version),
  platform: z.string(),
  load: z.number().min(0),
  date: z.iso.datetime(),
  commit: z.string().optional(),
});

const roundTripsSchema = z.object({ count: positive, medianUs: positive, p99Us: positive });
const delaySchema = z.object({ medianMs: z.number(), p99Ms: z.number(), maxMs: positive });
const hopSchema = z.object({
  hops: z.array(
    z.object({
      rows: positive,
      bytes: positive,
      hop: roundTripsSchema,
      unixHop: roundTripsSchema,
      tcp: roundTripsSchema,
      ratio: positive,
    }),
  ),
  loads: z.array(z.object({ calls: positive, mbPerSecond: positive, near: delaySchema, far: delaySchema })).length(2),
});

const caseSchema = z.object({
  kind: z.enum(["decode", "prefill"]),
  rows: positive,
  steps: positive,
  tokensPerSecond: positive,
  stepMs: positive,
  microBatches: z.number().min(1).max(2),
  expertsRead: positive,
  fanOut: z.number().min(1).max(2),
  weightsReadBytes: positive,
  readGbPerSecond: positive,
  gopPerSecond: positive,
  shares: z.record(z.string(), share),
});
const modelSchema = z.object({
  routing: z.literal("synthetic"),
  runs: z.array(
    z.object({
      experts: z.enum(["co-located", "sharded"]),
      activation: z.enum(["int8", "bf16"]),
      attentionThreads: z.literal(1),
      expertThreads: z.number().min(0).max(1),
      limits: z.object({ readGbPerSecond: positive, fmaGflopPerSecond: positive }),
      cases: z.array(caseSchema),
    }),
  ),
});

const relaySchema = z.object({
  streams: z.literal(3),
  tokensPerStream: positive,
  errors: z.literal(0),
  faults: z.array(z.string()).max(0),
  tokensPerSecond: positive,
  sourceTokensPerSecond: positive,
  addedToFirstToken: spread,
  appendToClient: spread,
  sourceGap: spread,
  clientGap: spread,
  addedToGap: spread,
  tokensPerChunk: z.number().min(1),
});
const phaseSchema = relaySchema.extend({
  cpu: z.object({
    ms: positive,
    tokens: positive,
    seconds: z.object({ gateway: positive, redis: positive, source: positive, clients: positive }),
  }),
});
const slopeSchema = z.object({ perUnit: z.number(), error: z.number() });
const countersSchema = z.object({ load: z.number(), waiting: z.number(), active: z.number(), room: positive });
const memorySchema = z.object({
  requests: z.number(),
  byKind: z.record(z.string(), positive),
  faults: z.array(z.string()),
  counters: z.object({ before: countersSchema, after: countersSchema }),
  stretches: z.array(z.object({ requests: positive, residentBytes: positive, heapUsedBytes: positive, externalBytes: positive })),
  growth: z.object({ resident: slopeSchema, heapUsed: slopeSchema, external: slopeSchema }),
});

const gatewaySchema = z.object({
  paced: phaseSchema,
  loaded: phaseSchema,
  flatOut: phaseSchema,
  flatOutDirect: phaseSchema,
  ratio: positive,
});

const stepSchema = z.object({
  steps: positive,
  ms: z.record(z.enum(["wholeMs", "scheduleMs", "prepareMs", "layersMs", "restMs"]), spread),
});
const throughputSchema = z.object({
  requestsPerSecond: positive,
  cores: z.object({ submits: positive, redis: positive, serves: positive }),
});
const queueSchema = z.object({
  whole: throughputSchema,
  bullAlone: throughputSchema,
  latencies: z.object({ ping: spread, submitToClaim: spread, submitToFirstToken: spread }),
});

async function moietyBench(...given: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [moiety, "bench", ...given, "--data-dir", folder, "--quick"]);
  return stdout;
}

function benchmarksOf(json: string): Record<string, unknown> {
  const { machine, quick, benchmarks } = JSON.parse(json);
  machineSchema.parse(machine);
  expect(quick).toBe(true);
  return benchmarks;
}

describe("moiety bench", () => {
  it(
    "measures a hop and the gateway's relay, and prints nothing but JSON",
    async () => {
      const { hop, gateway, ...others } = benchmarksOf(await moietyBench("hop", "gateway", "--streams", "3", "--json"));
      expect(hopSchema.parse(hop).hops.map(({ rows }) => rows)).toEqual([1, 8, 64, 256]);
      gatewaySchema.parse(gateway);
      expect(others).toEqual({});
    },
    PATIENCE_MS,
  );

  it(
    "measures an engine's step, and the queue",
    async () => {
      const { step, queue } = benchmarksOf(await moietyBench("step", "queue", "--json"));
      queueSchema.parse(queue);
      const { logged, unlogged } = z.object({ logged: stepSchema, unlogged: stepSchema }).parse(step);
      // A token is drawn from the prompt, and the first and the last step have no whole step beside them.
      for (const { steps } of [logged, unlogged]) expect(steps).toBeGreaterThan(20);
    },
    PATIENCE_MS,
  );

  it(
    "measures a model co-located and sharded, accounts for all of a step's time, and writes JSON to a file beside the tables",
    async () => {
      const file = join(folder, "results.json");
      const stdout = await moietyBench("model", "--threads", "1", "--activation", "int8", "--json", file);
      expect(stdout).toMatch(/of co-located/);
      const { runs } = modelSchema.parse(benchmarksOf(readFileSync(file, "utf8"))["model"]);
      expect(runs.map(({ experts }) => experts)).toEqual(["co-located", "sharded"]);
      for (const { cases, experts } of runs) {
        expect(cases.map(({ kind, rows }) => `${kind} ${rows}`)).toEqual([
          "decode 1",
          "decode 8",
          "decode 32",
          "prefill 128",
          "prefill 512",
        ]);
        for (const each of cases) {
          const total = Object.values(each.shares).reduce((sum, part) => sum + part, 0);
          expect(total).toBeGreaterThan(0.99);
          expect(total).toBeLessThan(1.05);
        }
        // One row chooses four of sixteen experts in each of four layers.
        expect(cases[0]?.expertsRead).toBe(16);
        // Sharded, two are tried, perhaps while the machine still warms up, and kept where they are faster.
        expect(cases[2]?.microBatches).toBeGreaterThanOrEqual(1);
        expect(cases[2]?.microBatches).toBeLessThanOrEqual(experts === "sharded" ? 2 : 1);
      }
    },
    PATIENCE_MS,
  );

  it(
    "measures a gateway's memory over requests of all kinds, none of which fails",
    async () => {
      const { memory } = benchmarksOf(await moietyBench("memory", "--requests", "120", "--json"));
      const { requests, byKind, faults, counters, stretches } = memorySchema.parse(memory);
      expect({ requests, faults }).toEqual({ requests: 120, faults: [] });
      expect(Object.values(byKind).reduce((sum, count) => sum + count, 0)).toBe(120);
      expect(counters.after).toEqual(counters.before);
      expect(stretches.at(-1)?.requests).toBe(120);
    },
    PATIENCE_MS,
  );

  it.each([
    [
      ["nothing"],
      "there is no benchmark named nothing; there are: kernels, hop, model, prompt, step, queue, gateway, guard, memory",
    ],
    [["--json", "hop"], "hop would be a file's name here"],
    [["--activation", "fp8"], "Expected some of bf16, f32, int8"],
    [["--streams", "4001"], "Expected an integer from 1 to 4000"],
    [["model", "--checkpoint", "/no/such/folder"], "--checkpoint: there is no folder /no/such/folder"],
  ])("refuses %j", async (given, message) => {
    const command = benchCommand()
      .exitOverride()
      .configureOutput({ writeErr: () => undefined });
    await expect(command.parseAsync(given, { from: "user" })).rejects.toThrow(message);
  });

  it("leaves no process behind", () => {
    expect(existsSync(join(folder, "bench", "run", "run.json"))).toBe(false);
  });
});
