import { describe, expect, it } from "vitest";
import { better, HOP_BOUND, judge, kernelBounds } from "./bounds.js";

describe("the guard's bounds", () => {
  it("are floors of shares and ceilings of costs", () => {
    const floor = { name: "share", of: "limit", bound: 0.6, kind: "floor" } as const;
    expect([0.59, 0.6].map((ratio) => judge(floor, ratio).ok)).toEqual([false, true]);
    expect([HOP_BOUND.bound, HOP_BOUND.bound + 0.01].map((ratio) => judge(HOP_BOUND, ratio).ok)).toEqual([true, false]);
    expect(judge(floor, Number.NaN).ok).toBe(false);
  });

  it("take the better of several tries", () => {
    expect(better("floor", 0.5, 0.7)).toBe(0.7);
    expect(better("ceiling", 5, 3)).toBe(3);
  });

  it("are there for every format at the levels that were measured, and would catch half of the speed", () => {
    const typical = { pairs: [0.95, 0.95], mxfp4: [0.29, 0.72], int8: [0.95, 0.72] };
    for (const { format, rows, bound } of kernelBounds("avx512")) {
      const share = typical[format][rows === 1 ? 0 : 1] ?? Number.NaN;
      expect(bound).toBeLessThan(0.8 * share);
      expect(bound).toBeGreaterThan(share / 2);
    }
    expect(kernelBounds("avx2")).toHaveLength(6);
    expect(kernelBounds("neon")).toEqual([]);
  });
});
