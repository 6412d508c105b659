import type { ChoiceEnd, ChoicePlan } from "../generation/choice.js";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
}

/** Choices in the order of their plans, those that nobody followed to an end undefined. */
type Ends = readonly (ChoiceEnd | undefined)[];

/** Numbers the prompts that choices, by their index, begin with. */
type PromptOf = (index: number) => number;

/**
 * Tokens of prompts that were cached. Of a prompt that several choices share it is what every one of them found: what one found more,
 * another one had just computed.
 */
export function cachedTokensOf(plans: readonly ChoicePlan[], ends: Ends, promptOf: PromptOf): number {
  const cached = new Map<number, number>();
  for (const [place, { index, record }] of plans.entries()) {
    const end = ends[place];
    // Of a choice that a stop string ended, nobody has said what was cached.
    if (end?.finish === undefined) continue;
    const prompt = promptOf(index);
    cached.set(prompt, Math.min(cached.get(prompt) ?? record.promptTokens.length, end.cachedTokens));
  }
  return sum(cached.values());
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

/** Sums choices up. A prompt that several choices share counts once. `ends` are in the order of `plans`. */
export function usageOf(plans: readonly ChoicePlan[], ends: readonly ChoiceEnd[], promptOf: PromptOf): Usage {
  const prompts = new Map(plans.map(({ index, record }) => [promptOf(index), record.promptTokens.length]));
  const prompt = sum(prompts.values());
  const completion = sum(ends.map((end) => end.outputTokens));
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cachedTokensOf(plans, ends, promptOf) },
    completion_tokens_details: { reasoning_tokens: sum(ends.map((end) => end.reasoningTokens)) },
  };
}
