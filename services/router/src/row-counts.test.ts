import { parseWorkerId } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ClusterIdentity } from "./membership/roster.js";
import { RowCounts } from "./row-counts.js";

const identity: ClusterIdentity = {
  fingerprint: "f",
  layers: 2,
  hiddenSize: 64,
  experts: 4,
  expertsPerToken: 2,
  activation: "bf16",
  kernelFamily: "cpu",
};
const [a, b] = [parseWorkerId("a"), parseWorkerId("b")];

describe("row counts", () => {
  it("add up by expert over all workers, and by worker", () => {
    const counts = new RowCounts();
    counts.add(a, { loads: [{ layer: 1, rows: [0, 2, 1] }], identity, nowMs: 0 });
    counts.add(b, { loads: [{ layer: 1, rows: [0, 5] }], identity, nowMs: 0 });
    expect([...counts.perExpert()]).toEqual([
      { layer: 1, expert: 1, rows: 7 },
      { layer: 1, expert: 2, rows: 1 },
    ]);
    expect([...counts.perWorker()]).toEqual([
      { id: a, rows: 3 },
      { id: b, rows: 5 },
    ]);
    expect(counts.imbalance(0)).toBe(1.25);
  });

  it("judge balance by what was of late", () => {
    const counts = new RowCounts();
    counts.add(a, { loads: [{ layer: 0, rows: [10_000] }], identity, nowMs: 0 });
    counts.add(a, { loads: [{ layer: 0, rows: [100] }], identity, nowMs: 300_000 });
    counts.add(b, { loads: [{ layer: 0, rows: [100] }], identity, nowMs: 300_000 });
    expect(counts.imbalance(300_000)).toBeCloseTo(1, 2);
  });

  it("refuse layers and experts that the model does not have", () => {
    const counts = new RowCounts();
    expect(() => counts.add(a, { loads: [{ layer: 2, rows: [] }], identity, nowMs: 0 })).toThrow(/2 layers and 4 experts/);
    expect(() => counts.add(a, { loads: [{ layer: 0, rows: [1, 2, 3, 4, 5] }], identity, nowMs: 0 })).toThrow(/4 experts/);
  });

  it("forget workers that left, and everything when the model changes", () => {
    const counts = new RowCounts();
    counts.add(a, { loads: [{ layer: 0, rows: [1] }], identity, nowMs: 0 });
    counts.keepOnly(new Set([b]));
    expect([...counts.perWorker()]).toEqual([]);
    counts.add(b, { loads: [{ layer: 0, rows: [0, 0, 0, 3] }], identity: { ...identity, fingerprint: "g" }, nowMs: 0 });
    expect([...counts.perExpert()]).toEqual([{ layer: 0, expert: 3, rows: 3 }]);
  });
});
