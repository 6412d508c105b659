import { describe, expect, it } from "vitest";
import { parseWorkerId } from "./ids.js";
import { PlacementTable, type PlacementTableSpec } from "./placement-table.js";

const a = parseWorkerId("a");
const b = parseWorkerId("b");
const spec: PlacementTableSpec = {
  epoch: 3,
  phase: "preparing",
  layers: 2,
  experts: 4,
  workers: [
    { id: a, address: "h:1", experts: [[0, 1], [3]] },
    { id: b, address: "h:2", experts: [[1, 2, 3], []] },
  ],
};

describe("a placement table", () => {
  it("names the workers that hold an expert, and nobody for one without a place", () => {
    const table = new PlacementTable(spec);
    expect(table.holders(0, 1)).toEqual([0, 1]);
    expect(table.holders(1, 3)).toEqual([0]);
    expect(table.holders(1, 0)).toEqual([]);
    expect(table.expertsOf(b)).toEqual([[1, 2, 3], []]);
    expect(table.expertsOf(parseWorkerId("c"))).toBeUndefined();
  });

  it("counts experts without any holder, and without a live one", () => {
    const table = new PlacementTable(spec);
    expect(table.countWithoutHolder()).toBe(3);
    expect(table.countWithoutHolder((worker) => worker.id === a)).toBe(5);
  });

  it("is replaced by a greater epoch, and by its own activation, and by nothing else", () => {
    const table = new PlacementTable(spec);
    expect(table.isNewerThan(undefined)).toBe(true);
    expect(table.isNewerThan(table)).toBe(false);
    expect(table.withPhase("active").isNewerThan(table)).toBe(true);
    expect(table.isNewerThan(table.withPhase("active"))).toBe(false);
    expect(table.withEpoch(4, "preparing").isNewerThan(table.withPhase("active"))).toBe(true);
    expect(table.withEpoch(2, "active").isNewerThan(table)).toBe(false);
  });

  it("compares assignments and addresses, not numbers or the order of workers", () => {
    const table = new PlacementTable(spec);
    const reversed = new PlacementTable({ ...spec, epoch: 9, workers: [...spec.workers].reverse() });
    expect(reversed.sameAssignments(table)).toBe(true);
    const moved = new PlacementTable({ ...spec, workers: spec.workers.map((worker) => ({ ...worker, address: "h:3" })) });
    expect(moved.sameAssignments(table)).toBe(false);
  });

  it.each([
    ["an epoch of 0", { epoch: 0 }, /epoch must be 1/],
    ["an expert out of range", { workers: [{ id: a, address: "h:1", experts: [[4], []] }] }, /0 to 3/],
    ["experts out of order", { workers: [{ id: a, address: "h:1", experts: [[2, 1], []] }] }, /must ascend/],
    ["a missing layer", { workers: [{ id: a, address: "h:1", experts: [[1]] }] }, /expected 2 layers/],
    ["a worker twice", { workers: [spec.workers[0], spec.workers[0]] as PlacementTableSpec["workers"] }, /named twice/],
  ])("refuses %s", (_name, change, message) => {
    expect(() => new PlacementTable({ ...spec, ...change })).toThrow(message);
  });
});
