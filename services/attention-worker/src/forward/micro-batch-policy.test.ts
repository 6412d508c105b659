import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bestShareOfTwo, MicroBatchPolicy, type StageTimes } from "./micro-batch-policy.js";

/** A machine on which a step takes a time that is given by its rows and micro-batches. */
interface Machine {
  stepUs(rows: number, microBatches: 1 | 2): number;
  readonly stages: StageTimes;
}

function run(policy: MicroBatchPolicy, machine: Machine, { rows, steps }: { rows: number; steps: number }): (1 | 2)[] {
  return Array.from({ length: steps }, () => {
    const microBatches = policy.decide(rows);
    policy.observe({ rows, microBatches, stepUs: machine.stepUs(rows, microBatches), stages: machine.stages });
    return microBatches;
  });
}

const counted = (choices: readonly number[], count: number) => choices.filter((each) => each === count).length;

/** Half of a step can be hidden. */
const OVERLAPPING: StageTimes = { attendUs: 400, networkUs: 200, computeUs: 400 };

describe("the number of micro-batches", () => {
  it("is two where two are faster, after a few steps", () => {
    const policy = new MicroBatchPolicy();
    const choices = run(
      policy,
      { stepUs: (_, count) => (count === 1 ? 1_000 : 700), stages: OVERLAPPING },
      { rows: 32, steps: 200 },
    );
    expect(choices.slice(0, 2)).toEqual([1, 1]);
    expect(counted(choices, 1)).toBeLessThanOrEqual(4);
  });

  it("is one where weights are read twice for nothing, at the price of a few steps", () => {
    const policy = new MicroBatchPolicy();
    const choices = run(
      policy,
      { stepUs: (_, count) => (count === 1 ? 1_000 : 1_300), stages: OVERLAPPING },
      { rows: 32, steps: 1_000 },
    );
    expect(counted(choices, 2)).toBeGreaterThan(0);
    expect(counted(choices, 2)).toBeLessThanOrEqual(8);
  });

  it("is one without any trial where nothing can be hidden", () => {
    const stages = { attendUs: 10, networkUs: 20, computeUs: 970 };
    const choices = run(new MicroBatchPolicy(), { stepUs: () => 1_000, stages }, { rows: 32, steps: 500 });
    expect(counted(choices, 2)).toBe(0);
  });

  it("stays as it is while the difference is within the noise", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.98, max: 1.02, noNaN: true }), { minLength: 300, maxLength: 300 }), (noise) => {
        let step = 0;
        const stepUs = () => 1_000 * (noise[step++ % noise.length] ?? 1);
        const choices = run(new MicroBatchPolicy(), { stepUs, stages: OVERLAPPING }, { rows: 64, steps: 300 });
        expect(counted(choices, 2)).toBeLessThanOrEqual(4);
      }),
    );
  });

  it("follows when the machine changes, either way", () => {
    const policy = new MicroBatchPolicy();
    let slowCount: 1 | 2 = 2;
    const machine: Machine = { stepUs: (_, count) => (count === slowCount ? 1_400 : 1_000), stages: OVERLAPPING };
    run(policy, machine, { rows: 32, steps: 100 });
    expect(policy.decide(32)).toBe(1);
    slowCount = 1;
    const after = run(policy, machine, { rows: 32, steps: 1_000 });
    expect(after.at(-1)).toBe(2);
    slowCount = 2;
    expect(run(policy, machine, { rows: 32, steps: 1_000 }).at(-1)).toBe(1);
  });

  it("is decided for each size of step by itself", () => {
    const policy = new MicroBatchPolicy();
    const machine: Machine = {
      stepUs: (rows, count) => rows * (count === 1 ? 100 : rows >= 128 ? 70 : 150),
      stages: { attendUs: 4_000, networkUs: 1_000, computeUs: 4_000 },
    };
    for (let round = 0; round < 20; round += 1) for (const rows of [8, 200]) run(policy, machine, { rows, steps: 1 });
    expect([policy.decide(8), policy.decide(200)]).toEqual([1, 2]);
  });
});

describe("the best that two micro-batches can do", () => {
  it("is bounded by the longer of attention and experts", () => {
    expect(bestShareOfTwo({ attendUs: 400, networkUs: 100, computeUs: 500 }, 1_000)).toBeCloseTo(0.5);
    expect(bestShareOfTwo({ attendUs: 900, networkUs: 50, computeUs: 50 }, 1_000)).toBeCloseTo(0.9);
    expect(bestShareOfTwo({ attendUs: 0, networkUs: 0, computeUs: 0 }, 0)).toBe(1);
  });
});
