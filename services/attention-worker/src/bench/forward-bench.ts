import { AppError, invariant, parseRequestId } from "@moiety/core";
import type { Activation, KernelLevel, SamplingParams } from "@moiety/kernels";
import type { Logger } from "@moiety/runtime";
import { type EvaluationExperts, openExperts } from "../evaluation/evaluation.js";
import { Forward } from "../forward/forward.js";
import type { ForwardRows } from "../forward/forward-rows.js";
import { KvCache } from "../kv-cache/kv-cache.js";
import { kvPools } from "../kv-cache/kv-capacity.js";
import { type OpenModel, openModel } from "../model.js";
import { Sequence } from "../scheduler/sequence.js";
import { type StepCost, stepCosts } from "./step-cost.js";
import { type StepMeasurement, StepProbe } from "./step-probe.js";

export interface ForwardBenchOptions {
  /** Directory of the checkpoint. */
  readonly directory: string;
  readonly experts: EvaluationExperts;
  /** Compute threads of this process. */
  readonly threads: number;
  readonly level?: KernelLevel;
  readonly activation: Activation;
  /** Sequences at a time, at most. */
  readonly maxSequences: number;
  /** Tokens of one sequence, at most. */
  readonly contextTokens: number;
  readonly logger: Logger;
}

export type MeasuredStep = StepMeasurement & StepCost;

/** The forward pass that serves requests, fed with random tokens: an attention worker without a queue. One call at a time. */
export interface ForwardBench {
  readonly level: KernelLevel;
  /** Computes a prompt of so many tokens in one step, and draws from its last row. */
  prefill(rows: number): Promise<MeasuredStep>;
  /**
   * Opens so many sequences of `promptTokens` each, and measures steps that give every one of them a token, for as long as
   * `goOn` says and their context lasts. The drawn token is thrown away for a random one, lest sequences run into loops.
   */
  decode(
    batch: { readonly sequences: number; readonly promptTokens: number },
    goOn: (step: MeasuredStep) => boolean,
  ): Promise<void>;
  close(): Promise<void>;
}

const PAGE_TOKENS = 16;
/** As many as a step of a served prompt has by default; also what is prefilled at a time before decoding. */
const STEP_TOKENS = 512;
/** The attention worker's default. */
const MICRO_BATCH_MIN_ROWS = 4;

const GREEDY: SamplingParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 0n,
};

/** @throws AppError when the checkpoint cannot be served, or UNAVAILABLE when not every expert has a worker in time. */
export async function openForwardBench(options: ForwardBenchOptions): Promise<ForwardBench> {
  const { directory, threads, level, activation, maxSequences, contextTokens } = options;
  const poolsFor = (slidingWindow: number) =>
    kvPools({
      tokens: maxSequences * (contextTokens + PAGE_TOKENS),
      pageTokens: PAGE_TOKENS,
      slidingWindow,
      maxSequences,
      stepTokens: Math.max(STEP_TOKENS, contextTokens),
    });
  const model = await openModel({
    directory,
    threads,
    ...(level === undefined ? {} : { level }),
    activation,
    kv: ({ config }) => poolsFor(config.slidingWindow),
  });
  try {
    const cache = new KvCache(poolsFor(model.checkpoint.config.slidingWindow));
    const { pool, close } = await openExperts(model, options);
    const probe = new StepProbe(model.attention, pool, model.checkpoint.config.experts);
    const forward = new Forward(
      { attention: probe.attention, experts: probe.experts, layers: model.checkpoint.config.layers },
      { lanes: options.experts.kind === "co-located" ? 1 : 2, minRows: MICRO_BATCH_MIN_ROWS },
    );
    return new OpenForwardBench({ model, cache, probe, forward, contextTokens, closeExperts: close });
  } catch (error) {
    await model.close();
    throw error;
  }
}

interface Parts {
  readonly model: OpenModel;
  readonly cache: KvCache;
  readonly probe: StepProbe;
  readonly forward: Forward;
  readonly contextTokens: number;
  closeExperts(): Promise<void>;
}

class OpenForwardBench implements ForwardBench {
  readonly level: KernelLevel;
  readonly #parts: Parts;
  readonly #costOf: ReturnType<typeof stepCosts>;
  readonly #randomToken: () => number;
  #opened = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.level = parts.model.kernels.level;
    this.#costOf = stepCosts(parts.model.checkpoint);
    this.#randomToken = randomIntegers(parts.model.checkpoint.config.vocabSize);
  }

  async prefill(rows: number): Promise<MeasuredStep> {
    const sequence = this.#open(rows);
    try {
      return await this.#step([sequence]);
    } finally {
      this.#close(sequence);
    }
  }

  async decode(
    { sequences: count, promptTokens }: { readonly sequences: number; readonly promptTokens: number },
    goOn: (step: MeasuredStep) => boolean,
  ): Promise<void> {
    const sequences = Array.from({ length: count }, () => this.#open(promptTokens));
    try {
      const together = Math.max(1, Math.floor(STEP_TOKENS / promptTokens));
      for (let first = 0; first < count; first += together) await this.#step(sequences.slice(first, first + together));
      for (let length = promptTokens + 1; length <= this.#parts.contextTokens; length += 1) {
        for (const sequence of sequences) sequence.tokens.push(this.#randomToken());
        if (!goOn(await this.#step(sequences))) return;
      }
    } finally {
      for (const sequence of sequences) this.#close(sequence);
    }
  }

  async close(): Promise<void> {
    await this.#parts.closeExperts();
    await this.#parts.model.close();
  }

  #open(promptTokens: number): Sequence {
    const { cache, contextTokens } = this.#parts;
    invariant(promptTokens <= contextTokens, "a prompt fits into the context");
    this.#opened += 1;
    const sequence = new Sequence({
      id: parseRequestId(`bench-${this.#opened}`),
      priority: 0,
      arrivedAtMs: 0,
      promptTokens: Int32Array.from({ length: promptTokens }, this.#randomToken),
      outputTokens: [],
      maxTokens: contextTokens,
      cacheSalt: "bench",
      pageTokens: cache.pageTokens,
      reusePrefix: false,
    });
    const pages = cache.open({ hashes: sequence.hashes, tokens: promptTokens, reuse: false });
    sequence.state = { kind: "prefilling", pages, computed: 0 };
    return sequence;
  }

  #close(sequence: Sequence): void {
    this.#parts.cache.close(sequence.pages);
  }

  /** Computes what is pending of every sequence, and draws once from each. */
  async #step(sequences: readonly Sequence[]): Promise<MeasuredStep> {
    const { cache, probe, forward } = this.#parts;
    const rows = sequences.reduce((sum, { pending }) => sum + pending, 0);
    const step = await probe.measure(rows, async () => {
      const outcomes = await forward.run(sequences.map((sequence) => this.#plan(sequence)));
      for (const outcome of outcomes) {
        if (outcome.kind === "failed") throw outcome.error;
        const failed = outcome.samples.find((sample) => sample instanceof Error);
        if (failed !== undefined) throw AppError.from(failed);
      }
      for (const sequence of sequences) {
        const { pages, hashes, tokens } = sequence;
        cache.commit(pages, hashes, tokens.length);
        sequence.state = { kind: "decoding", pages, computed: tokens.length };
      }
    });
    return { ...step, ...this.#costOf(step, sequences.length) };
  }

  #plan(sequence: Sequence): ForwardRows {
    invariant(this.#parts.cache.reserve(sequence.pages, sequence.tokens.length), "the cache holds every sequence");
    const { computed: start, pending: count } = sequence;
    return {
      rows: { sequence, start, count, draws: true },
      draws: [{ offset: count - 1, params: GREEDY, counter: sequence.outputLength }],
      signal: new AbortController().signal,
      alone: false,
    };
  }
}

/** Integers below a limit, the same in every run: a 32-bit linear congruential generator, of which the upper bits are taken. */
function randomIntegers(limit: number): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
