import { PlacementTable, parseWorkerId } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PlaceRequest, type PlaceResult, place } from "./place.js";

const worker = (index: number, capacitySlots = 1_000_000) => ({ id: parseWorkerId(`w${index}`), capacitySlots });
const workers = (count: number, capacitySlots?: number) =>
  Array.from({ length: count }, (_, index) => worker(index, capacitySlots));

function tableOf(result: PlaceResult, shape: Pick<PlaceRequest, "layers" | "experts">): PlacementTable {
  const placed = result.assignments.map(({ id, experts }) => ({ id, address: "h:1", experts }));
  return new PlacementTable({ ...shape, epoch: 1, phase: "active", workers: placed });
}

const sizes = (result: PlaceResult, layer: number) => result.assignments.map(({ experts }) => experts[layer]?.length ?? 0);
const spread = (values: readonly number[]) => Math.max(...values) - Math.min(...values);
const total = (result: PlaceResult) => result.assignments.map(({ experts }) => experts.flat().length);

const arbitraryShape = fc.record({ layers: fc.integer({ min: 1, max: 6 }), experts: fc.integer({ min: 1, max: 20 }) });
const arbitraryNames = fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 8 });

describe("place", () => {
  it("gives gpt-oss-20b's 32 experts to two workers in equal shares", () => {
    const result = place({ layers: 24, experts: 32, workers: workers(2), previous: undefined, replicas: 1 });
    expect(total(result)).toEqual([384, 384]);
    expect(result.unplaced).toEqual([]);
  });

  it("gives every worker consecutive experts at first, which lie side by side in the checkpoint", () => {
    const result = place({ layers: 1, experts: 8, workers: workers(3), previous: undefined, replicas: 1 });
    expect(result.assignments.map(({ experts }) => experts[0])).toEqual([
      [0, 1, 2],
      [3, 4, 5],
      [6, 7],
    ]);
  });

  it("says which experts have no place when the slots do not suffice", () => {
    const result = place({ layers: 2, experts: 4, workers: workers(2, 3), previous: undefined, replicas: 1 });
    expect(result.unplaced).toHaveLength(2);
    expect(total(result)).toEqual([3, 3]);
  });

  it("says that nothing has a place without workers", () => {
    const result = place({ layers: 1, experts: 3, workers: [], previous: undefined, replicas: 1 });
    expect(result.unplaced).toHaveLength(3);
  });

  it("splits every layer evenly, places every expert, and never puts two replicas on one worker", () => {
    fc.assert(
      fc.property(arbitraryShape, arbitraryNames, fc.integer({ min: 1, max: 4 }), (shape, names, replicas) => {
        const result = place({ ...shape, workers: names.map((name) => worker(name)), previous: undefined, replicas });
        const table = tableOf(result, shape);
        for (let layer = 0; layer < shape.layers; layer += 1) {
          expect(spread(sizes(result, layer))).toBeLessThanOrEqual(1);
          for (let expert = 0; expert < shape.experts; expert += 1) {
            expect(table.holders(layer, expert)).toHaveLength(Math.min(replicas, names.length));
          }
        }
      }),
    );
  });

  it("keeps within every worker's slots, and fills them before an expert goes without a place", () => {
    const arbitraryCapacities = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(arbitraryShape, arbitraryCapacities, fc.integer({ min: 1, max: 3 }), (shape, capacities, replicas) => {
        const candidates = capacities.map((slots, index) => worker(index, slots));
        const result = place({ ...shape, workers: candidates, previous: undefined, replicas });
        const used = total(result);
        for (const [index, slots] of capacities.entries()) expect(used[index]).toBeLessThanOrEqual(slots);
        const slots = shape.layers * shape.experts;
        const usable = capacities.reduce((sum, capacity) => sum + Math.min(capacity, slots), 0);
        expect(result.unplaced).toHaveLength(Math.max(0, slots - usable));
        const copies = used.reduce((sum, count) => sum + count, 0);
        expect(copies).toBe(Math.min(slots * Math.min(replicas, capacities.length), usable));
      }),
    );
  });

  it("moves nothing when nothing changed", () => {
    fc.assert(
      fc.property(arbitraryShape, arbitraryNames, fc.integer({ min: 1, max: 3 }), (shape, names, replicas) => {
        const request = { ...shape, workers: names.map((name) => worker(name)), replicas };
        const first = place({ ...request, previous: undefined });
        const again = place({ ...request, previous: tableOf(first, shape) });
        expect(again.moves).toBe(0);
        expect(again.assignments).toEqual(first.assignments);
      }),
    );
  });

  it("moves as few experts as an even split allows when workers come and go", () => {
    fc.assert(
      fc.property(arbitraryShape, arbitraryNames, arbitraryNames, (shape, before, after) => {
        const first = place({ ...shape, workers: before.map((name) => worker(name)), previous: undefined, replicas: 1 });
        const previous = tableOf(first, shape);
        const next = place({ ...shape, workers: after.map((name) => worker(name)), previous, replicas: 1 });
        let least = 0;
        for (let layer = 0; layer < shape.layers; layer += 1) least += leastMoves(shape.experts, previous, after, layer);
        expect(next.moves).toBe(least);
      }),
    );
  });
});

/** What must move at least: each worker keeps what it held up to its share, and the larger shares go to those who hold most. */
function leastMoves(experts: number, previous: PlacementTable, after: readonly number[], layer: number): number {
  const held = after.map((name) => previous.expertsOf(parseWorkerId(`w${name}`))?.[layer]?.length ?? 0);
  const floor = Math.floor(experts / after.length);
  const larger = experts % after.length;
  const kept = held.reduce((sum, count) => sum + Math.min(count, floor), 0);
  return experts - kept - Math.min(larger, held.filter((count) => count > floor).length);
}
