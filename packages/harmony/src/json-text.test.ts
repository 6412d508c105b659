import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonText } from "./json-text.js";

describe("jsonText", () => {
  it.each([
    [2 ** 53, "9007199254740992"],
    [2 ** 64, "1.8446744073709552e19"],
    [-(2 ** 63), "-9.223372036854776e18"],
    [1e21, "1e21"],
    [1e-5, "0.00001"],
    [1.2e-6, "1.2e-6"],
    [5e-324, "5e-324"],
    [-0, "0"],
  ])("writes %d as openai-harmony does: %s", (value, text) => {
    expect(jsonText(value)).toBe(text);
  });

  it("means what JSON.stringify means, for any JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(jsonText(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it("leaves out what JSON has no word for", () => {
    expect(jsonText({ a: undefined, b: [undefined, Number.NaN] })).toBe('{"b":[null,null]}');
  });
});
