import { setMaxListeners } from "node:events";
import { createRequestProducer, type RequestProducer } from "@moiety/queue";
import { planRedisAlone } from "../bench-cluster.js";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { FarEnd } from "../far-end.js";
import { followStream } from "../gateway/follower.js";
import { type Spread, spreadOf } from "../quantiles.js";
import { formatTable } from "../table.js";
import { type EngineSettings, type EngineSteps, engineStepsSchema } from "./step-settings.js";

const FULL = { sequences: 64, warmUpTokens: 300, tokens: 600, rounds: 3 };
const SHORT = { sequences: 64, warmUpTokens: 400, tokens: 200, rounds: 1 };
const QUICK = { sequences: 64, warmUpTokens: 20, tokens: 40, rounds: 1 };
/** As gpt-oss-20b has; the fastest step that is known of it on one GPU takes about as long. */
const LAYERS = 24;
const COMPUTE_MS = 5;
const PROMPT_TOKENS = 3;
const PHASE_TIMEOUT_MS = 60_000;

const PARTS = ["wholeMs", "scheduleMs", "prepareMs", "layersMs", "restMs"] as const;
type Part = (typeof PARTS)[number];

interface StepFigures {
  readonly steps: number;
  readonly ms: Readonly<Record<Part, Spread>>;
}

interface EngineFigures {
  readonly sequences: number;
  readonly layers: number;
  readonly logged: StepFigures;
  /** Without token logs in Redis. */
  readonly unlogged: StepFigures;
}

/** Measures an engine's JavaScript: the scheduler, the cache's tables, requests, token logs in Redis; all but the compute. */
export async function benchmarkStep(options: BenchmarkOptions): Promise<BenchmarkResult<EngineFigures>> {
  const settings = options.quick ? QUICK : FULL;
  const { logged, unlogged } = await withRedis(options, async (measureWith) => ({
    logged: await measureWith(settings, { logs: true }),
    unlogged: await measureWith(settings, { logs: false }),
  }));
  return { text: format(settings, logged, unlogged), figures: { ...settings, layers: LAYERS, logged, unlogged } };
}

/** Median milliseconds of a step without the token log, warmed up and measured for some seconds. */
export async function unloggedStepMs(options: BenchmarkOptions): Promise<number> {
  const { ms } = await withRedis(options, (measureWith) => measureWith(SHORT, { logs: false }));
  return ms.wholeMs.median;
}

type MeasureWith = (settings: typeof FULL, how: Pick<EngineSettings, "logs">) => Promise<StepFigures>;

async function withRedis<T>(options: BenchmarkOptions, use: (measureWith: MeasureWith) => Promise<T>): Promise<T> {
  const cluster = await planRedisAlone(options);
  const { redisUrl } = cluster.plan;
  await cluster.start();
  const producer = createRequestProducer({ redisUrl, onError: () => undefined });
  try {
    return await use((settings, { logs }) => measure(producer, settings, { redisUrl, logs }));
  } finally {
    await producer.close();
    await cluster.stop();
  }
}

async function measure(
  producer: RequestProducer,
  { sequences, warmUpTokens, tokens, rounds }: typeof FULL,
  how: Pick<EngineSettings, "redisUrl" | "logs">,
): Promise<StepFigures> {
  const contextTokens = PROMPT_TOKENS + tokens;
  const given: EngineSettings = { ...how, sequences, contextTokens, layers: LAYERS, computeMs: COMPUTE_MS };
  const engine = new FarEnd(new URL("./step-far-end.js", import.meta.url), [JSON.stringify(given)]);
  const run = async (maxTokens: number): Promise<EngineSteps> => {
    const signal = AbortSignal.timeout(PHASE_TIMEOUT_MS);
    setMaxListeners(0, signal);
    const streams = Array.from({ length: sequences }, (_, stream) => followStream(producer, { stream, maxTokens, signal }));
    const faults = (await Promise.all(streams)).flatMap(({ fault }) => fault ?? []);
    if (faults[0] !== undefined) throw new Error(`a request of the measurement failed: ${faults[0]}`);
    return engineStepsSchema.parse(await engine.ask({}));
  };
  try {
    await engine.next();
    await run(warmUpTokens);
    const steps: EngineSteps = [];
    for (let round = 0; round < rounds; round++) steps.push(...(await run(tokens)));
    const spread = (part: Part) => [part, spreadOf(steps.map(({ [part]: ms }) => ms))] as const;
    return { steps: steps.length, ms: Object.fromEntries(PARTS.map(spread)) as Record<Part, Spread> };
  } finally {
    await engine.close();
  }
}

const NAMES: Readonly<Record<Part, string>> = {
  wholeMs: "whole step",
  scheduleMs: "take in draws, hand over tokens, schedule",
  prepareMs: "prepare rows",
  layersMs: `loop of ${LAYERS} layers`,
  restMs: "send appends, hear of them, timers, garbage",
};

function format({ sequences }: typeof FULL, logged: StepFigures, unlogged: StepFigures): string {
  const cells = ({ ms }: StepFigures, part: Part) => [ms[part].median.toFixed(3), ms[part].p99.toFixed(3)];
  return [
    `JavaScript of a step in ms: ${sequences} decoding sequences, kernels and experts that compute nothing, tokens logged in Redis, and beside it the same without the log.`,
    formatTable(
      ["part", "median", "p99", "without log, median", "p99"],
      PARTS.map((part) => [NAMES[part], ...cells(logged, part), ...cells(unlogged, part)]),
    ),
    `Medians of ${logged.steps} and ${unlogged.steps} steps.`,
  ].join("\n");
}
