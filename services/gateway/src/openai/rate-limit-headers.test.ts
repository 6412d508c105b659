import { expect, it } from "vitest";
import { spellDuration } from "./rate-limit-headers.js";

it.each([
  [0, "0ms"],
  [17, "17ms"],
  [1_000, "1s"],
  [8_640, "8.64s"],
  [60_000, "1m0s"],
  [359_001, "6m0s"],
  [3_599_999, "1h0m0s"],
  [7_384_000, "2h3m4s"],
])("spells %d ms as OpenAI does: %s", (ms, spelled) => expect(spellDuration(ms)).toBe(spelled));
