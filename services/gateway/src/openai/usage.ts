import type { ChoiceEnd, ChoicePlan } from "../generation/choice.js";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
}

/**
 * Sums choices up. A prompt that several choices share counts once: `promptOf` numbers the prompts. Of it as much was cached as every choice
 * found: what one found more, another one had just computed. `ends` are in the order of `plans`.
 */
export function usageOf(plans: readonly ChoicePlan[], ends: readonly ChoiceEnd[], promptOf: (index: number) => number): Usage {
  const prompts = new Map<number, { readonly tokens: number; cached: number | undefined }>();
  for (const [place, plan] of plans.entries()) {
    const prompt = promptOf(plan.index);
    const known = prompts.get(prompt) ?? { tokens: plan.record.promptTokens.length, cached: undefined };
    const end = ends[place];
    // Of a choice that a stop string ended, nobody has said what was cached.
    if (end?.finish !== undefined) known.cached = Math.min(known.cached ?? known.tokens, end.cachedTokens);
    prompts.set(prompt, known);
  }
  const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
  const all = [...prompts.values()];
  const prompt = sum(all.map(({ tokens }) => tokens));
  const completion = sum(ends.map((end) => end.outputTokens));
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(all.map(({ cached }) => cached ?? 0)) },
    completion_tokens_details: { reasoning_tokens: sum(ends.map((end) => end.reasoningTokens)) },
  };
}
