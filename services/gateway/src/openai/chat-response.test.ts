import { describe, expect, it } from "vitest";
import type { ChoiceEnd } from "../generation/choice.js";
import { ChatChunks, type ChatShape, chatResponse } from "./chat-response.js";
import { TokenNames } from "./logprobs.js";

const shape: ChatShape = {
  id: "chatcmpl-1",
  createdAtS: 0,
  model: "tiny",
  names: new TokenNames(undefined),
  topLogprobs: undefined,
  includeReasoning: true,
  returnTokenIds: false,
};
const end: ChoiceEnd = { finishReason: "stop", outputTokens: 3, reasoningTokens: 0, calls: 2, cachedTokens: 0, repairs: {} };
const nothing = { content: "", reasoning: "", calls: [], tokens: [], tokenIds: [] };
const calls = ["a", "b"].map((name) => ({ name, arguments: "{}" }));
const usage = {
  prompt_tokens: 1,
  completion_tokens: 3,
  total_tokens: 4,
  prompt_tokens_details: { cached_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0 },
};

type Choices = { readonly choices: readonly Record<string, { readonly tool_calls: readonly object[] }>[] };

describe("calls of functions", () => {
  const answer = chatResponse(
    shape,
    [0, 1].map((index) => ({ ...nothing, index, calls, end })),
    usage,
  ) as Choices;

  it("have ids that differ, and are the same whenever and however the request is answered", () => {
    const idsOf = (toolCalls: readonly object[]) => toolCalls.map((call) => (call as { id?: string }).id);
    const whole = answer.choices.map(({ message }) => idsOf(message?.tool_calls ?? []));
    expect(new Set(whole.flat()).size).toBe(4);
    const streamed = [0, 1].map((index) => {
      const delta = { ...nothing, calls: calls.map((call, number) => ({ index: number, ...call })) };
      const [chunk] = new ChatChunks(shape, false).chunks({ kind: "delta", index, delta });
      return idsOf((chunk as Choices).choices[0]?.["delta"]?.tool_calls ?? []);
    });
    expect(streamed).toEqual(whole);
  });

  it.each([
    [{}, "tool_calls"],
    [{ calls: 0 }, "stop"],
    [{ finishReason: "length" }, "length"],
    [{ stopReason: "x" }, "stop"],
  ] as const)("end a choice of %j with %s", (changes, reason) => {
    const chunks = [
      ...new ChatChunks(shape, false).chunks({ kind: "end", index: 0, delta: nothing, end: { ...end, ...changes } }),
    ];
    expect(chunks).toEqual([
      expect.objectContaining({ choices: [expect.objectContaining({ delta: {}, finish_reason: reason })] }),
    ]);
  });
});
