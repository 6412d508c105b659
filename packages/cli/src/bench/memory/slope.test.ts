import { describe, expect, it } from "vitest";
import { slopeOf } from "./slope.js";

describe("a slope", () => {
  it("is that of a line, without error", () => {
    const { perUnit, error } = slopeOf([0, 10, 20, 50].map((x) => [x, 3 * x + 7]));
    expect(perUnit).toBeCloseTo(3);
    expect(error).toBeCloseTo(0);
  });

  it("of what only wavers lies within its error", () => {
    const { perUnit, error } = slopeOf(Array.from({ length: 100 }, (_, x) => [x, 5 + (x % 2)]));
    expect(Math.abs(perUnit)).toBeLessThan(error);
    expect(error).toBeGreaterThan(0);
  });

  it("is none of two points", () =>
    expect(
      slopeOf([
        [0, 1],
        [1, 2],
      ]).perUnit,
    ).toBeNaN());
});
