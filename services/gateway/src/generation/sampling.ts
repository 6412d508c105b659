import { createHash, randomBytes } from "node:crypto";
import type { GenerationParams } from "@moiety/queue";
import type { CheckedGrammar } from "../grammar/check-grammar.js";
import { invalidField } from "../openai/errors.js";
import type { GenerationFields } from "../openai/request-fields.js";

/** What the two endpoints spell differently. */
export interface SamplingContext {
  readonly vocabSize: number;
  /** Tokens that end a generation unless `ignore_eos`. */
  readonly eosTokenIds: readonly number[];
  readonly maxTokens: number;
  readonly topLogprobs: number | undefined;
  readonly promptLogprobs: boolean;
  /** What the output is held to. Its ends are then the only ones, and end it whatever `ignore_eos` says. */
  readonly held: CheckedGrammar | undefined;
}

/** Sampling parameters of all choices but for the seed, which each choice has of its own. */
export function samplingParams(fields: GenerationFields, context: SamplingContext): Omit<GenerationParams, "seed"> {
  const inVocabulary = (token: number) => token < context.vocabSize;
  const bias = Object.entries(fields.logit_bias ?? {}).map(([token, value]) => [Number(token), value] as const);
  const strange = bias.find(([token]) => !inVocabulary(token));
  if (strange) throw invalidField(`logit_bias.${strange[0]}`, `expected token ids below ${context.vocabSize}`);
  const stops = fields.stop_token_ids ?? [];
  const wrong = stops.findIndex((token) => !inVocabulary(token));
  if (wrong >= 0) throw invalidField(`stop_token_ids[${wrong}]`, `expected a token id below ${context.vocabSize}`);
  const minTokens = fields.min_tokens ?? 0;
  if (minTokens > context.maxTokens) throw invalidField("min_tokens", `expected at most max_tokens = ${context.maxTokens}`);
  const ends = fields.ignore_eos && context.held === undefined ? [] : context.eosTokenIds;
  return {
    temperature: fields.temperature ?? 1,
    topK: Math.max(0, fields.top_k ?? 0),
    topP: fields.top_p ?? 1,
    minP: fields.min_p ?? 0,
    repetitionPenalty: fields.repetition_penalty ?? 1,
    presencePenalty: fields.presence_penalty ?? 0,
    frequencyPenalty: fields.frequency_penalty ?? 0,
    maxTokens: context.maxTokens,
    minTokens,
    stopTokenIds: [...new Set([...stops, ...ends])],
    logitBias: bias,
    ...(context.topLogprobs === undefined ? {} : { topLogprobs: context.topLogprobs }),
    ...(context.promptLogprobs ? { promptLogprobs: true } : {}),
    ...context.held,
  };
}

/** The stop strings of a request. */
export function stopStrings(fields: GenerationFields): readonly string[] {
  return typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []);
}

/**
 * Seeds of `count` choices: the first is the client's own (modulo 2^64), so that n = 1 is the first choice of any n; the others are
 * the first 64 bits of SHA-256("seed/index"). Drawn at random when the client gave none.
 */
export function deriveSeeds(seed: number | undefined, count: number): readonly string[] {
  const first = seed === undefined ? randomBytes(8).readBigUInt64BE() : BigInt.asUintN(64, BigInt(seed));
  return Array.from({ length: count }, (_, index) => {
    if (index === 0) return first.toString();
    return createHash("sha256").update(`${first}/${index}`).digest().readBigUInt64BE().toString();
  });
}
