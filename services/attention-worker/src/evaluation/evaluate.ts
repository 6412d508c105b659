import { AppError } from "@moiety/core";
import type { Batch, SamplingParams } from "@moiety/kernels";
import type { ModelConfig } from "@moiety/model";
import type { ForwardModel } from "../forward/layers.js";
import type { KvCache } from "../kv-cache/kv-cache.js";
import { LayerRecord } from "./layer-record.js";
import { argmax, logSumExp, readLogits } from "./logits.js";
import { TokenFeed } from "./token-feed.js";

/** One prompt to run through the model. */
export interface EvaluationCase {
  readonly name: string;
  /** At least one, each within the vocabulary. */
  readonly tokens: readonly number[];
  /** A continuation to feed in; the logits after each of its tokens but the last are reported. */
  readonly forced?: readonly number[];
  /** Tokens whose logits are reported at every position. */
  readonly probeIds?: readonly number[];
}

/** Results under the names that packages/testing/fixtures/golden/check.py reads. T tokens, L layers, V vocabulary, H hidden. */
export interface EvaluationResult {
  readonly tokens: readonly number[];
  /** `[V]` at the last position of the prompt. */
  readonly logits_last: readonly number[];
  /** `[T][V]`, for prompts of at most 9 tokens. */
  readonly logits_all?: readonly (readonly number[])[];
  /** `[T][probeIds]`. */
  readonly probe_logits?: readonly (readonly number[])[];
  /** `[T]`. */
  readonly argmax: readonly number[];
  /** `[T]` log-sum-exp. */
  readonly lse: readonly number[];
  /** `[T-1]` log-probability of the token that follows. */
  readonly logprob_next: readonly number[];
  /** `[L][T][expertsPerToken]`, best first. */
  readonly router_idx: readonly (readonly (readonly number[])[])[];
  /** `[L][H]` residual stream of the last token, after each block and after each attention. */
  readonly resid_last: readonly (readonly number[])[];
  readonly resid_attn_last: readonly (readonly number[])[];
  /** Drawn greedily, one by one. */
  readonly greedy: readonly number[];
  readonly forced_argmax?: readonly number[];
  readonly forced_last_logits?: readonly number[];
}

export interface EvaluateOptions {
  readonly model: ForwardModel;
  readonly config: ModelConfig;
  /** Holds prompt and continuation. */
  readonly cache: KvCache;
  /** Tokens of the prompt per pass. */
  readonly chunkTokens: number;
  /** Tokens to draw. */
  readonly generate: number;
}

/** Longest prompt whose logits are reported at every position. */
const ALL_LOGITS_TOKENS = 9;

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

/**
 * Runs a prompt through the forward pass that serves requests, and reports what a reference can be compared with.
 * @throws AppError INVALID_ARGUMENT for a case that does not fit the model; INTERNAL when a result is not finite.
 */
export async function evaluate(options: EvaluateOptions, given: EvaluationCase): Promise<EvaluationResult> {
  check(options, given);
  const { forced } = given;
  const prompt = await runPrompt(options, given);
  const continued = forced === undefined || forced.length === 0 ? {} : await runForced(options, given.tokens, forced);
  const result = { tokens: [...given.tokens], ...prompt, ...continued };
  for (const [key, value] of Object.entries(result)) {
    if (!allFinite(value)) throw new AppError("INTERNAL", `${given.name}: ${key} holds a number that is not finite`);
  }
  return result;
}

async function runPrompt(options: EvaluateOptions, { tokens, probeIds }: EvaluationCase) {
  const { config, chunkTokens } = options;
  const record = new LayerRecord(config);
  const feed = new TokenFeed({ ...options, tokens, reusePrefix: false });
  const all: number[][] = [];
  const probes: number[][] = [];
  const best: number[] = [];
  const lse: number[] = [];
  const logprobNext: number[] = [];
  let last: number[] = [];
  const visit = (logits: Float32Array, position: number) => {
    if (tokens.length <= ALL_LOGITS_TOKENS) all.push([...logits]);
    if (probeIds !== undefined) probes.push(probeIds.map((id) => logits[id] ?? Number.NaN));
    best.push(argmax(logits));
    const sum = logSumExp(logits);
    lse.push(sum);
    const following = tokens[position + 1];
    if (following === undefined) last = [...logits];
    else logprobNext.push((logits[following] ?? Number.NaN) - sum);
  };
  try {
    let drawn = 0;
    while (feed.computed < tokens.length) {
      const start = feed.computed;
      const count = Math.min(chunkTokens, tokens.length - start);
      drawn = await feed.advance({ count, observer: record }, async (batch) => {
        const rows = {
          first: 0,
          vocabSize: config.vocabSize,
          visit: (logits: Float32Array, row: number) => visit(logits, start + row),
        };
        await readLogits(options.model.attention, batch, rows);
        return drawGreedily(options, batch, 0);
      });
    }
    const greedy = await continueGreedily(options, feed, drawn);
    return {
      logits_last: last,
      ...(all.length > 0 ? { logits_all: all } : {}),
      ...(probeIds === undefined ? {} : { probe_logits: probes }),
      argmax: best,
      lse,
      logprob_next: logprobNext,
      router_idx: record.expertIds,
      resid_last: record.afterBlock,
      resid_attn_last: record.afterAttention,
      greedy,
    };
  } finally {
    feed.close();
  }
}

async function continueGreedily(options: EvaluateOptions, feed: TokenFeed, first: number): Promise<number[]> {
  const greedy: number[] = [];
  for (let token = first; greedy.length < options.generate; ) {
    greedy.push(token);
    if (greedy.length === options.generate) break;
    feed.push(token);
    token = await feed.advance({ count: 1 }, (batch) => drawGreedily(options, batch, greedy.length));
  }
  return greedy;
}

/** Feeds the prompt and the continuation but its last token; positions before the prompt's last may come from the prefix cache. */
async function runForced(options: EvaluateOptions, tokens: readonly number[], forced: readonly number[]) {
  const { config, chunkTokens } = options;
  const fed = [...tokens, ...forced.slice(0, -1)];
  // Opened with the prompt alone: the cache may know the continuation too, but its logits are wanted.
  const feed = new TokenFeed({ ...options, tokens, reusePrefix: true });
  for (const token of fed.slice(tokens.length)) feed.push(token);
  const from = tokens.length - 1;
  const best: number[] = [];
  let last: number[] = [];
  try {
    while (feed.computed < fed.length) {
      const start = feed.computed;
      const count = Math.min(chunkTokens, fed.length - start);
      await feed.advance({ count }, async (batch) => {
        const visit = (logits: Float32Array) => {
          best.push(argmax(logits));
          last = [...logits];
        };
        await readLogits(options.model.attention, batch, {
          first: Math.max(0, from - start),
          vocabSize: config.vocabSize,
          visit,
        });
      });
    }
    return { forced_argmax: best, forced_last_logits: last };
  } finally {
    feed.close();
  }
}

async function drawGreedily(options: EvaluateOptions, batch: Batch, counter: number): Promise<number> {
  const [sample] = await options.model.attention.sample(batch, [{ row: batch.rows - 1, params: GREEDY, counter }]);
  if (sample === undefined || sample instanceof Error) throw AppError.from(sample ?? new Error("nothing was drawn"));
  return sample.token;
}

function check({ config, cache, generate }: EvaluateOptions, { name, tokens, forced = [], probeIds = [] }: EvaluationCase): void {
  const bad = [...tokens, ...forced, ...probeIds].find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabSize);
  if (bad !== undefined)
    throw new AppError("INVALID_ARGUMENT", `${name}: ${bad} is not a token of the vocabulary of ${config.vocabSize}`);
  if (tokens.length === 0) throw new AppError("INVALID_ARGUMENT", `${name}: tokens must not be empty`);
  const length = tokens.length + Math.max(generate, forced.length);
  const limit = Math.min(config.maxContext, cache.capacityTokens);
  if (length > limit) throw new AppError("OUT_OF_RANGE", `${name}: ${length} tokens exceed the context of ${limit}`);
}

function allFinite(value: unknown): boolean {
  return Array.isArray(value) ? value.every(allFinite) : value === undefined || Number.isFinite(value);
}
