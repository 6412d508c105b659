import { expect, it } from "vitest";
import type { ChoiceEnd, ChoicePlan } from "../generation/choice.js";
import { usageOf } from "./usage.js";

const plan = (index: number, promptTokens: number) =>
  ({ index, record: { promptTokens: new Int32Array(promptTokens) } }) as ChoicePlan;
const end = (cachedTokens: number, more: object = { finish: {} }) =>
  ({ cachedTokens, outputTokens: 3, reasoningTokens: 1, ...more }) as ChoiceEnd;

it("counts each prompt once, and of it as cached what every choice found", () => {
  const plans = [plan(0, 100), plan(1, 100), plan(2, 50), plan(3, 50)];
  const ends = [end(16), end(96), end(0, {}), end(32)];
  expect(usageOf(plans, ends, (index) => Math.floor(index / 2))).toEqual({
    prompt_tokens: 150,
    completion_tokens: 12,
    total_tokens: 162,
    prompt_tokens_details: { cached_tokens: 48 },
    completion_tokens_details: { reasoning_tokens: 4 },
  });
});
