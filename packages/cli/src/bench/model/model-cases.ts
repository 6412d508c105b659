import type { ForwardBench, MeasuredStep, StepParts } from "@moiety/attention-worker";
import { median } from "../quantiles.js";

export interface ModelCase {
  readonly kind: "decode" | "prefill";
  /** Sequences that get a token each, or tokens of one prompt. */
  readonly rows: number;
}

export interface CaseSettings {
  readonly cases: readonly ModelCase[];
  /** Context that decoding begins with. */
  readonly promptTokens: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly minSteps: number;
}

export const FULL: CaseSettings = {
  cases: [
    { kind: "decode", rows: 1 },
    { kind: "decode", rows: 8 },
    { kind: "decode", rows: 32 },
    { kind: "prefill", rows: 128 },
    { kind: "prefill", rows: 512 },
  ],
  promptTokens: 64,
  warmUpMs: 1_000,
  measureMs: 4_000,
  minSteps: 3,
};

export const QUICK: CaseSettings = { ...FULL, promptTokens: 16, warmUpMs: 50, measureMs: 200 };

/** One case on one arrangement of the experts. */
export interface CaseFigures extends ModelCase {
  readonly steps: number;
  /** `rows` over the median step. */
  readonly tokensPerSecond: number;
  readonly stepMs: number;
  readonly microBatches: number;
  /** Distinct experts wanted in a step, all layers and micro-batches together. */
  readonly expertsRead: number;
  /** Workers called by a layer. */
  readonly fanOut: number;
  readonly weightsReadBytes: number;
  readonly readGbPerSecond: number;
  readonly gopPerSecond: number;
  /** Shares of the step's time; of all micro-batches' time when there are several. */
  readonly shares: StepShares;
}

export type StepShares = { readonly [Part in keyof StepParts as Part extends `${infer Name}Us` ? Name : never]: number };

/** Runs a case until it was measured long enough. */
export async function measureCase(bench: ForwardBench, given: ModelCase, settings: CaseSettings): Promise<CaseFigures> {
  const collector = new Collector(settings);
  while (collector.wantsMore) {
    if (given.kind === "prefill") collector.add(await bench.prefill(given.rows));
    else await bench.decode({ sequences: given.rows, promptTokens: settings.promptTokens }, (step) => collector.add(step));
  }
  return summarise(given, collector.steps);
}

/** Tokens of one sequence, at most, for these settings. */
export function contextTokensFor({ cases, promptTokens }: CaseSettings): number {
  return Math.max(promptTokens * 4, ...cases.map(({ kind, rows }) => (kind === "prefill" ? rows : 0)));
}

/** Throws steps away until the machine is warm, and says when there are enough. */
class Collector {
  readonly steps: MeasuredStep[] = [];
  readonly #settings: CaseSettings;
  readonly #startedMs = performance.now();
  #warmMs: number | undefined;

  constructor(settings: CaseSettings) {
    this.#settings = settings;
  }

  get wantsMore(): boolean {
    if (this.#warmMs === undefined) return true;
    const { measureMs, minSteps } = this.#settings;
    return performance.now() - this.#warmMs < measureMs || this.steps.length < minSteps;
  }

  add(step: MeasuredStep): boolean {
    const nowMs = performance.now();
    if (this.#warmMs !== undefined) this.steps.push(step);
    else if (nowMs - this.#startedMs >= this.#settings.warmUpMs) this.#warmMs = nowMs;
    return this.wantsMore;
  }
}

function summarise({ kind, rows }: ModelCase, steps: readonly MeasuredStep[]): CaseFigures {
  const mean = (of: (step: MeasuredStep) => number) => steps.reduce((sum, step) => sum + of(step), 0) / steps.length;
  const medianOf = (of: (step: MeasuredStep) => number) => median(steps.map(of));
  const stepMs = medianOf(({ ms }) => ms);
  const laneUs = mean(({ microBatches, ms }) => microBatches * ms * 1_000);
  const share = (part: keyof StepParts) => mean(({ parts }) => parts[part]) / laneUs;
  return {
    kind,
    rows,
    steps: steps.length,
    tokensPerSecond: (rows / stepMs) * 1_000,
    stepMs,
    microBatches: mean(({ microBatches }) => microBatches),
    expertsRead: mean(({ expertsRead }) => expertsRead),
    fanOut: mean(({ fanOut }) => fanOut),
    weightsReadBytes: Math.round(mean(({ weightsReadBytes }) => weightsReadBytes)),
    readGbPerSecond: medianOf(({ weightsReadBytes, ms }) => weightsReadBytes / ms / 1e6),
    gopPerSecond: medianOf(({ operations, ms }) => operations / ms / 1e6),
    shares: {
      attend: share("attendUs"),
      encode: share("encodeUs"),
      network: share("networkUs"),
      queue: share("queueUs"),
      compute: share("computeUs"),
      combine: share("combineUs"),
      sample: share("sampleUs"),
      idle: share("idleUs"),
    },
  };
}
