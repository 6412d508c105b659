import { AppError } from "@moiety/core";
import type { MaskOutcome } from "@moiety/grammar";
import type { Sample, SamplingParams } from "@moiety/kernels";
import type { GenerationParams, LoggedToken } from "@moiety/queue";
import type { Draw } from "../forward/forward-rows.js";
import type { Sequence } from "../scheduler/sequence.js";
import type { PlannedRows } from "../scheduler/step-plan.js";

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

export interface DrawOptions {
  /** Whether the prompt's own tokens are drawn as well. */
  readonly scoresPrompt: boolean;
  /** What the next token may be. Absent: any. */
  readonly mask?: Promise<MaskOutcome> | undefined;
}

/** How one request draws, made once from its parameters. */
export class Sampling {
  readonly #params: SamplingParams;
  readonly #generation: GenerationParams;
  readonly #bias: { readonly ids: Int32Array; readonly values: Float32Array } | undefined;
  readonly #withoutStops: Uint32Array | undefined;
  readonly #vocabSize: number;

  /** @throws AppError INVALID_ARGUMENT for parameters that no gateway lets through. */
  constructor(generation: GenerationParams, vocabSize: number) {
    const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = generation;
    const seed = parseSeed(generation.seed);
    this.#params = { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty, seed };
    this.#generation = generation;
    this.#vocabSize = vocabSize;
    const { logitBias, stopTokenIds, minTokens } = generation;
    checkTokens(
      "logitBias",
      logitBias.map(([token]) => token),
      vocabSize,
    );
    if (logitBias.length > 0) {
      const ids = Int32Array.from(logitBias, ([token]) => token);
      this.#bias = { ids, values: Float32Array.from(logitBias, ([, value]) => value) };
    }
    if (minTokens > 0 && stopTokenIds.length > 0) this.#withoutStops = allBut(stopTokenIds, vocabSize);
  }

  /** What is to be drawn from a sequence's planned rows: the next token, and the prompt's own tokens if `scoresPrompt`. */
  draws({ sequence, start, count, draws }: PlannedRows, { scoresPrompt, mask }: DrawOptions): Draw[] {
    const scored = scoresPrompt ? this.#promptDraws(sequence, start, count) : [];
    if (!draws) return scored;
    const next = this.#next(sequence, count - 1);
    return [...scored, mask === undefined ? next : { ...next, mask }];
  }

  #next(sequence: Sequence, offset: number): Draw {
    const { tokens, promptLength, outputLength } = sequence;
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#params;
    const repeats = repetitionPenalty !== 1;
    const penalizes = repeats || presencePenalty !== 0 || frequencyPenalty !== 0;
    const allowed = outputLength < this.#generation.minTokens ? this.#withoutStops : undefined;
    const { topLogprobs } = this.#generation;
    return {
      offset,
      params: this.#params,
      counter: outputLength,
      ...(repeats ? { promptTokens: tokens.view(0, promptLength) } : {}),
      ...(penalizes ? { outputTokens: tokens.view(promptLength) } : {}),
      ...(this.#bias === undefined ? {} : { bias: this.#bias }),
      ...(allowed === undefined ? {} : { allowed }),
      ...(topLogprobs === undefined ? {} : { topLogprobs }),
    };
  }

  /** The token that follows is the only one allowed, so that the draw reports its log-probability. */
  #promptDraws(sequence: Sequence, start: number, count: number): Draw[] {
    const last = Math.min(start + count, sequence.promptLength - 1);
    const following = sequence.tokens.view(start + 1, Math.max(start, last) + 1);
    const topLogprobs = this.#generation.topLogprobs ?? 0;
    return Array.from(following, (token, offset) => ({
      offset,
      params: GREEDY,
      counter: 0,
      allowed: only(token, this.#vocabSize),
      topLogprobs,
    }));
  }
}

export function toLoggedToken(sample: Sample): LoggedToken {
  if (sample.logprob === undefined) return { token: sample.token };
  return {
    token: sample.token,
    logprob: sample.logprob,
    ...(sample.top === undefined ? {} : { top: sample.top }),
  };
}

/** @throws AppError INVALID_ARGUMENT naming the field when a token is not in the vocabulary. */
export function checkTokens(field: string, tokens: Iterable<number>, vocabSize: number): void {
  for (const token of tokens) {
    if (Number.isInteger(token) && token >= 0 && token < vocabSize) continue;
    throw new AppError("INVALID_ARGUMENT", `${field} holds a token that is not in the vocabulary of ${vocabSize}`);
  }
}

function parseSeed(text: string): bigint {
  if (/^\d{1,20}$/.test(text) && BigInt(text) < 2n ** 64n) return BigInt(text);
  throw new AppError("INVALID_ARGUMENT", "seed must be an unsigned 64-bit number in decimal");
}

function allBut(tokens: readonly number[], vocabSize: number): Uint32Array {
  const mask = new Uint32Array(Math.ceil(vocabSize / 32)).fill(0xffffffff);
  for (const token of tokens) if (token >= 0 && token < vocabSize) setBit(mask, token, false);
  return mask;
}

function only(token: number, vocabSize: number): Uint32Array {
  const mask = new Uint32Array(Math.ceil(vocabSize / 32));
  setBit(mask, token, true);
  return mask;
}

function setBit(mask: Uint32Array, bit: number, on: boolean): void {
  const word = mask[bit >>> 5] ?? 0;
  mask[bit >>> 5] = on ? word | (1 << (bit & 31)) : word & ~(1 << (bit & 31));
}
