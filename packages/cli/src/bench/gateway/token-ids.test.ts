import { describe, expect, it } from "vitest";
import { countTokens } from "./token-ids.js";

const chunk = (tokenIds: readonly number[]) =>
  `data: ${JSON.stringify({ id: "x", choices: [{ index: 0, text: "[1,2", token_ids: tokenIds, prompt_token_ids: [1, 2, 3] }] })}`;

describe("the tokens of an event", () => {
  it("are as many as its list of ids has", () => {
    for (const ids of [[], [0], [40], [7, 2_000_000], Array.from({ length: 300 }, (_, id) => id)]) {
      expect(countTokens(chunk(ids))).toBe(ids.length);
    }
  });

  it("are none where there is no such list", () => {
    expect(countTokens("data: [DONE]")).toBe(0);
    expect(countTokens('data: {"error":{"message":"gone"}}')).toBe(0);
    expect(countTokens(`data: {"choices":[{"prompt_token_ids":[1,2]}]}`)).toBe(0);
  });
});
