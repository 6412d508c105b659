import { describe, expect, it } from "vitest";
import { DrainEstimate } from "./drain-estimate.js";

/** One end every `everyMs`, the last at `untilMs`. */
function drained(everyMs: number, untilMs: number): DrainEstimate {
  const drain = new DrainEstimate();
  for (let end = 99; end >= 0; end--) drain.ended(untilMs - end * everyMs);
  return drain;
}

describe("when to try again", () => {
  it("is unknown before requests have ended", () => {
    const drain = new DrainEstimate();
    expect(drain.waitMs(1_000)).toBeUndefined();
    drain.ended(1_000);
    expect(drain.waitMs(1_001)).toBeUndefined();
  });

  it("is later for each one that is refused, by the time that a request takes to make room", () => {
    const drain = drained(100, 100_000);
    const waits = Array.from({ length: 30 }, () => drain.waitMs(100_000) ?? Number.NaN);
    for (const [index, wait] of waits.entries()) {
      expect(wait).toBeGreaterThan((index + 1) * 95);
      expect(wait).toBeLessThan((index + 1) * 105);
    }
  });

  it("comes closer as time passes", () => {
    const drain = drained(100, 100_000);
    for (let refused = 0; refused < 30; refused++) drain.waitMs(100_000);
    for (let end = 1; end <= 20; end++) drain.ended(100_000 + end * 100);
    expect(drain.waitMs(102_000)).toBeLessThan(1_300);
    expect(drain.waitMs(110_000)).toBeLessThan(300);
  });

  it("grows when requests no longer end, and is never more than a minute", () => {
    const drain = drained(100, 100_000);
    expect(drain.waitMs(164_000)).toBeGreaterThan(900);
    for (let refused = 0; refused < 1_000; refused++) drain.waitMs(164_000);
    expect(drain.waitMs(164_000)).toBe(60_000);
  });
});
