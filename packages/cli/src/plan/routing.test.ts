import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectedMaximum, layerShares, type Routing, slowestLoad, touchedExperts, workersCalled } from "./routing.js";

const OF_120B: Routing = { experts: 128, expertsPerToken: 4 };
const OF_20B: Routing = { experts: 32, expertsPerToken: 4 };

const arbitraryRouting = fc
  .record({ experts: fc.integer({ min: 1, max: 128 }), expertsPerToken: fc.integer({ min: 1, max: 8 }) })
  .filter(({ experts, expertsPerToken }) => expertsPerToken <= experts);
const arbitraryCase = arbitraryRouting.chain((routing) =>
  fc.record({ routing: fc.constant(routing), workers: fc.integer({ min: 1, max: Math.min(64, routing.experts) }) }),
);
const arbitraryRows = fc.integer({ min: 1, max: 600 });

/** Every set of `k` of `experts` experts. */
function choices(experts: number, k: number, from = 0): number[][] {
  if (k === 0) return [[]];
  return Array.from({ length: experts - from }, (_, index) => from + index).flatMap((first) =>
    choices(experts, k - 1, first + 1).map((rest) => [first, ...rest]),
  );
}

/** Pairs per worker for every choice of one row, by counting. */
function countedLoads({ experts, expertsPerToken }: Routing, workers: number): number[][] {
  const shares = layerShares(experts, workers);
  const owner = shares.flatMap((held, worker) => new Array<number>(held).fill(worker));
  return choices(experts, expertsPerToken).map((chosen) =>
    shares.map((_, worker) => chosen.filter((expert) => owner[expert] === worker).length),
  );
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("layerShares", () => {
  it("gives away every expert once, as evenly as possible", () => {
    fc.assert(
      fc.property(arbitraryCase, ({ routing: { experts }, workers }) => {
        const shares = layerShares(experts, workers);
        expect(shares.reduce((sum, held) => sum + held, 0)).toBe(experts);
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("workersCalled", () => {
  it.each([
    [2, 1.88],
    [4, 2.75],
    [8, 3.34],
    [16, 3.66],
  ])("is what a token of 120b visits of %i equal shards: %d", (workers, expected) => {
    expect(workersCalled(OF_120B, layerShares(128, workers), 1)).toBeCloseTo(expected, 1);
  });

  it("is exact for one row, as counting all choices shows", () => {
    for (const workers of [1, 2, 3, 5, 10]) {
      const routing = { experts: 10, expertsPerToken: 3 };
      const counted = mean(countedLoads(routing, workers).map((loads) => loads.filter((pairs) => pairs > 0).length));
      expect(workersCalled(routing, layerShares(10, workers), 1)).toBeCloseTo(counted, 10);
    }
  });

  it("lies between one and all, and grows with the rows", () => {
    fc.assert(
      fc.property(arbitraryCase, arbitraryRows, ({ routing, workers }, rows) => {
        const shares = layerShares(routing.experts, workers);
        const called = workersCalled(routing, shares, rows);
        expect(called).toBeGreaterThanOrEqual(1 - 1e-9);
        expect(called).toBeLessThanOrEqual(workers + 1e-9);
        expect(workersCalled(routing, shares, rows + 1)).toBeGreaterThanOrEqual(called - 1e-9);
      }),
    );
  });
});

describe("touchedExperts", () => {
  it("is the experts that one row chooses, and 31.6 of 20b's 32 for 32 rows", () => {
    expect(touchedExperts(OF_20B, 32, 1)).toBe(4);
    // 32 (1 - 0.875^32), 0.875^32 = 0.013937.
    expect(touchedExperts(OF_20B, 32, 32)).toBeCloseTo(31.554, 3);
  });
});

describe("slowestLoad", () => {
  it("is all pairs when there is one worker", () => {
    expect(slowestLoad(OF_20B, { held: 32, workers: 1, rows: 1 })).toEqual({ pairs: 4, touched: 4 });
    expect(slowestLoad(OF_20B, { held: 32, workers: 1, rows: 8 }).pairs).toBe(32);
  });

  it("is within a tenth of the mean maximum that counting finds for one row", () => {
    for (const [experts, expertsPerToken, workers] of [
      [12, 4, 2],
      [12, 4, 3],
      [12, 4, 4],
      [12, 4, 6],
      [16, 4, 2],
      [16, 4, 8],
      [9, 3, 9],
    ] as const) {
      const routing = { experts, expertsPerToken };
      const counted = mean(countedLoads(routing, workers).map((loads) => Math.max(...loads)));
      const { pairs, touched } = slowestLoad(routing, { held: layerShares(experts, workers)[0] ?? 0, workers, rows: 1 });
      expect(pairs / counted).toBeGreaterThan(0.9);
      expect(pairs / counted).toBeLessThan(1.1);
      expect(touched).toBeCloseTo(pairs, 10);
    }
  });

  it("is at least the even share, at most everything, and touches no more experts than are held or wanted", () => {
    fc.assert(
      fc.property(arbitraryCase, arbitraryRows, ({ routing, workers }, rows) => {
        const held = layerShares(routing.experts, workers)[0] ?? 0;
        const { pairs, touched } = slowestLoad(routing, { held, workers, rows });
        const total = rows * routing.expertsPerToken;
        expect(pairs).toBeGreaterThanOrEqual((total * held) / routing.experts - 1e-9);
        expect(pairs).toBeLessThanOrEqual(total + 1e-9);
        expect(touched).toBeLessThanOrEqual(Math.min(held, pairs) + 1e-9);
        expect(touched).toBeGreaterThan(0);
      }),
    );
  });

  it("is nothing for a worker that holds nothing", () => {
    expect(slowestLoad(OF_20B, { held: 0, workers: 3, rows: 8 })).toEqual({ pairs: 0, touched: 0 });
  });
});

describe("expectedMaximum", () => {
  it.each([
    [1, 0],
    [2, 1 / Math.sqrt(Math.PI)],
    [3, 1.5 / Math.sqrt(Math.PI)],
    [10, 1.53875],
    [64, 2.34374],
  ])("of %i variables is the tabled one", (count, expected) => {
    expect(expectedMaximum(count)).toBeCloseTo(expected, 4);
  });
});
