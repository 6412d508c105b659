import { systemClock } from "@moiety/core";
import { type Claim, createRequestConsumer } from "@moiety/queue";
import { createLogger, createRegistry } from "@moiety/runtime";
import { Engine } from "../engine.js";
import { KvCache } from "../kv-cache/kv-cache.js";
import { kvPools } from "../kv-cache/kv-capacity.js";
import { createAttentionMetrics } from "../metrics.js";
import { STAND_IN_VOCABULARY, StandInKernels, type StepTimes, TimedForward } from "./engine-stand-ins.js";

export interface EngineBenchOptions {
  readonly redisUrl: string;
  readonly sequences: number;
  /** Longest prompt plus output of a request. */
  readonly contextTokens: number;
  readonly layers: number;
  /** How long the stand-in for the kernels leaves the event loop alone in each step. */
  readonly computeMs: number;
  /** Whether tokens are appended to the logs in Redis; false: appends are done at once, to see what they cost. */
  readonly logs: boolean;
}

/** JavaScript of one step, in milliseconds. The parts add up to the whole. */
export interface EngineStep {
  readonly wholeMs: number;
  /** Takes in the draws, hands tokens to their logs, ends requests, and plans the next step. */
  readonly scheduleMs: number;
  /** What the forward pass wants to know of each sequence. */
  readonly prepareMs: number;
  /** The layers' loop. */
  readonly layersMs: number;
  /** Encodes and sends appends, hears of what Redis has acknowledged; claims, lock renewal, timers, garbage. */
  readonly restMs: number;
}

export interface EngineBench {
  /** Steps with as many draws as sequences, since the last call. */
  take(): readonly EngineStep[];
  close(): Promise<void>;
}

/** A real engine on a real queue. Only the compute is a stand-in. */
export async function openEngineBench(options: EngineBenchOptions): Promise<EngineBench> {
  const { redisUrl, sequences, contextTokens, layers, computeMs, logs } = options;
  const limits = { maxSequences: sequences, stepTokens: 512, prefillChunkTokens: 256, contextTokens };
  const metrics = createAttentionMetrics({ registry: createRegistry({}), modelName: "bench", engine: "bench" });
  const kernels = new StandInKernels(computeMs);
  const plannedMs: number[] = [];
  const onStep: typeof metrics.engine.onStep = (step) => {
    plannedMs.push(performance.now());
    metrics.engine.onStep(step);
  };
  const tokens = sequences * contextTokens;
  const consumer = createRequestConsumer({ redisUrl, capacity: 0 });
  const engine = new Engine({
    cache: new KvCache(kvPools({ tokens, pageTokens: 16, slidingWindow: 128, ...limits })),
    forward: new TimedForward(kernels, layers, metrics.engine.onLayer),
    limits,
    vocabSize: STAND_IN_VOCABULARY,
    clock: systemClock,
    logger: createLogger({ service: "attention-worker", instance: "bench", level: "silent" }),
    observer: { ...metrics.engine, onStep },
    onCapacity: (claims) => consumer.setCapacity(claims),
    onBroken: (error) => {
      throw error;
    },
  });
  engine.start();
  await consumer.start((claim) => engine.add(logs ? claim : withoutLog(claim)));
  return {
    take: () => stepsOf(kernels.steps.splice(0), plannedMs.splice(0), sequences),
    close: async () => {
      await engine.stop();
      await consumer.close();
    },
  };
}

/** The same claim, but what is appended goes nowhere. */
function withoutLog(claim: Claim): Claim {
  const done = Promise.resolve("appended" as const);
  return {
    record: claim.record,
    log: claim.log,
    claimedAtMs: claim.claimedAtMs,
    signal: claim.signal,
    append: () => done,
    putPromptLogprobs: () => done,
    finish: (finish) => claim.finish(finish),
    release: () => claim.release(),
  };
}

/** Of two whole steps in a row: from the draws of the first to those of the second. `plannedMs[i]` belongs to `steps[i]`. */
function stepsOf(steps: readonly StepTimes[], plannedMs: readonly number[], sequences: number): EngineStep[] {
  return steps.flatMap((step, index) => {
    const next = steps[index + 1];
    const planned = plannedMs[index + 1];
    if (next === undefined || planned === undefined || step.draws < sequences || next.draws < sequences) return [];
    const wholeMs = next.activeMs - step.activeMs;
    const scheduleMs = planned - step.drawnMs;
    const prepareMs = next.enteredMs - planned;
    const layersMs = next.askedMs - next.enteredMs;
    return [{ wholeMs, scheduleMs, prepareMs, layersMs, restMs: wholeMs - scheduleMs - prepareMs - layersMs }];
  });
}
