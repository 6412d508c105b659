import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.js";

describe("back-off", () => {
  it("doubles up to its limit", () => {
    const waits = [0, 1, 2, 3, 4, 50].map((attempt) => backoffMs(attempt, { firstMs: 100, maxMs: 1_000, random: () => 1 }));
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it("draws from the upper half, so that many do not come back at once and none comes back at once", () => {
    fc.assert(
      fc.property(fc.nat(100), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, draw) => {
        const waitMs = backoffMs(attempt, { firstMs: 100, maxMs: 1_000, random: () => draw });
        expect(waitMs).toBeGreaterThanOrEqual(50);
        expect(waitMs).toBeLessThanOrEqual(1_000);
      }),
    );
  });
});
