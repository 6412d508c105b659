import type { ChoiceEnd, ChoicePlan } from "../generation/choice.js";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
}

/** Sums choices up. A prompt that several choices share counts once: `promptOf` numbers the prompts. */
export function usageOf(plans: readonly ChoicePlan[], ends: readonly ChoiceEnd[], promptOf: (index: number) => number): Usage {
  const prompts = new Map(plans.map((plan) => [promptOf(plan.index), plan.record.promptTokens.length]));
  const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
  const prompt = sum(prompts.values());
  const completion = sum(ends.map((end) => end.outputTokens));
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: Math.min(prompt, sum(ends.map((end) => end.cachedTokens))) },
    completion_tokens_details: { reasoning_tokens: sum(ends.map((end) => end.reasoningTokens)) },
  };
}
