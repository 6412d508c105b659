import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Device } from "./device.js";
import { type Fleet, withExpertWorkers } from "./fleet.js";
import { hopTime, linkBytesPerToken, totalBytes } from "./hop.js";
import { attentionTime } from "./layer-time.js";
import { type PlanShape, releasedShape } from "./plan-shape.js";
import { type StepRequest, stepTime } from "./step-time.js";

const device = (readBytesPerSecond: number, flopPerSecond: number): Device => ({
  kind: "cpu",
  memoryBytes: 1e12,
  readBytesPerSecond,
  bf16: [{ rows: 1, flopPerSecond }],
  mxfp4: [{ rows: 1, flopPerSecond }],
});

const fleetOf = (each: Device, changed: Partial<Fleet> = {}): Fleet => ({
  attention: [{ name: "a", pool: "a", device: each }],
  experts: [{ name: "e", pool: "e", device: each }],
  hop: { constantUs: 65, usPerKb: 0.5 },
  link: { latencyUs: 0, gbPerSecond: Number.POSITIVE_INFINITY },
  oneMachine: false,
  ...changed,
});

/** Round numbers: see the comments of the cases. */
const ROUND: PlanShape = {
  name: "round",
  layers: 2,
  slidingLayers: 0,
  slidingWindow: 1,
  experts: 4,
  expertsPerToken: 2,
  expertFormat: "mxfp4",
  hiddenSize: 500,
  rowBytes: 1_000,
  expertBytes: 1_000_000,
  pairFlops: 1_000_000,
  attentionWorkerBytes: 7_000_000,
  layerBytes: 2_000_000,
  rowFlops: 1_000_000,
  unembeddingBytes: 3_000_000,
  drawFlops: 1_000_000,
  positionBytes: 1_000,
  scoreFlops: 1,
};
const READS = fleetOf(device(1e9, 1e15));
const one = (rows: number, contextTokens = 100): StepRequest => ({
  batch: { kind: "decode", rows, contextTokens },
  microBatches: 1,
  attentionWorkers: 1,
});

describe("stepTime by hand", () => {
  it("adds up a step that waits for memory", () => {
    const { seconds, parts, bottleneck } = stepTime(ROUND, READS, one(1));
    // 2 layers of 2 MB and of 100 kB of keys and values; of 2 experts of 1 MB; a hop of 65 us and 3 kB; 2 kB and 4 kB combined; 3 MB.
    expect(parts.attention * 1e3).toBeCloseTo(4.2, 9);
    expect(parts.experts * 1e3).toBeCloseTo(4, 9);
    expect(parts.hop * 1e3).toBeCloseTo(2 * 0.0665, 9);
    expect(parts.combine * 1e3).toBeCloseTo(0.012, 9);
    expect(parts.sample * 1e3).toBeCloseTo(3, 9);
    expect(seconds * 1e3).toBeCloseTo(11.345, 9);
    expect(bottleneck).toBe("attention, memory");
  });

  it("adds up a step that waits for arithmetic", () => {
    const fleet = fleetOf(device(1e15, 1e9), { hop: { constantUs: 0, usPerKb: 0 } });
    // 10 rows: 10 ms of linears and 1 us of scores a layer; 20 pairs of 1 ms; 10 ms of unembedding.
    const { seconds, bottleneck } = stepTime(ROUND, fleet, one(10));
    expect(seconds * 1e3).toBeCloseTo(2 * (10.001 + 20) + 10, 6);
    expect(bottleneck).toBe("experts, compute");
  });

  it("overlaps two micro-batches: the busiest part sets the pace", () => {
    const { seconds, bottleneck } = stepTime(ROUND, READS, { ...one(1), microBatches: 2 });
    // Attention and combine 2.106 ms, so a period of 4.212; a chain of 4.1725; 2.106 behind it; two samplings.
    expect(seconds * 1e3).toBeCloseTo(4.212 + 4.1725 + 2.106 + 6, 9);
    expect(bottleneck).toBe("attention, memory");
  });

  it("lets attention workers queue for the same expert workers", () => {
    const { seconds, bottleneck } = stepTime(ROUND, READS, { ...one(1), attentionWorkers: 4 });
    expect(seconds * 1e3).toBeCloseTo(8 + 4.1725 + 2 + 3, 9);
    expect(bottleneck).toBe("experts, memory");
  });

  it("lets everything take turns on one machine", () => {
    const alone = stepTime(ROUND, READS, one(1)).seconds;
    const fleet = { ...READS, oneMachine: true };
    expect(stepTime(ROUND, fleet, { ...one(1), microBatches: 2, attentionWorkers: 3 }).seconds).toBeCloseTo(6 * alone, 12);
  });

  it("is the published floor of 120b on one H200: 1.04 ms for one token, 13.4 ms with every expert touched", () => {
    const shape = releasedShape("120b");
    const fleet = fleetOf(device(4.8e12, 1e18), { hop: { constantUs: 0, usPerKb: 0 } });
    expect(stepTime(shape, fleet, one(1, 1)).seconds * 1e3).toBeCloseTo(1.04, 2);
    const { attention, experts, sample } = stepTime(shape, fleet, one(1_000, 1)).parts;
    const keys = (36 * 1_000 * shape.positionBytes) / 4.8e12;
    expect((attention - keys + experts + sample) * 1e3).toBeCloseTo(13.35, 1);
  });
});

describe("attentionTime", () => {
  it("scores what a prompt's rows see: all before them in full layers, the window in sliding ones", () => {
    const shape = { ...ROUND, slidingLayers: 1, slidingWindow: 2, scoreFlops: 1_000 };
    const slow = { ...device(1e15, 1e6) };
    // 4 rows: 1 + 2 + 3 + 4 positions in the full layer, 1 + 2 + 2 + 2 in the sliding one; linears 4 s.
    const { seconds } = attentionTime(shape, slow, { kind: "prefill", rows: 4 });
    expect(seconds).toBeCloseTo(4 + ((10 + 7) / 2) * 1e-3, 12);
  });
});

describe("hopTime", () => {
  it("is a constant and a cost per byte of both directions for one worker", () => {
    // 64 rows of 5,760 bytes out, four times as many back, 0.5 us per kB.
    const { seconds } = hopTime(releasedShape("20b"), READS, 64);
    expect(seconds * 1e6).toBeCloseTo(65 + 0.5 * 64 * 5 * 5.76, 6);
  });

  it("costs half a constant more per further worker, the network's latency, and its bandwidth where that is slower", () => {
    const fleet = withExpertWorkers({ ...READS, link: { latencyUs: 10, gbPerSecond: 1 } }, 2);
    // Of two workers with two of four experts each, a row of two choices misses one with 1/6: 5/3 are called.
    const { seconds, busySeconds } = hopTime(ROUND, fleet, 1);
    expect(busySeconds * 1e6).toBeCloseTo(5 / 3 + 2, 9);
    expect(seconds * 1e6).toBeCloseTo(65 * (1 + 0.5 * (2 / 3)) + 20 + 5 / 3 + 2, 9);
  });

  it("conserves bytes: the workers' links carry a row per worker called and a row back per pair", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), (workers) => {
        const shape = releasedShape("120b");
        const links = linkBytesPerToken(shape, workers);
        const { out, back } = totalBytes(links);
        expect(links).toHaveLength(workers);
        expect(back).toBeCloseTo(36 * 4 * 5_760, 6);
        expect(out).toBeGreaterThanOrEqual(36 * 5_760 * (1 - 1e-9));
        expect(out).toBeLessThanOrEqual(back * (1 + 1e-9));
      }),
    );
  });
});

describe("stepTime in general", () => {
  const SHAPES = [releasedShape("20b"), releasedShape("120b"), ROUND];
  const speed = fc.integer({ min: 1, max: 1_000 });
  const arbitrary = fc.record({
    shape: fc.constantFrom(...SHAPES),
    workers: fc.integer({ min: 1, max: 4 }),
    read: speed,
    compute: speed,
    link: speed,
    rows: fc.integer({ min: 1, max: 300 }),
    microBatches: fc.constantFrom(1, 2),
    attentionWorkers: fc.integer({ min: 1, max: 4 }),
    oneMachine: fc.boolean(),
  });
  type Case = typeof arbitrary extends fc.Arbitrary<infer Value> ? Value : never;
  const run = (given: Case) => {
    const fleet = fleetOf(device(given.read * 1e9, given.compute * 1e10), {
      link: { latencyUs: 5, gbPerSecond: given.link / 100 },
      oneMachine: given.oneMachine,
    });
    const { microBatches, attentionWorkers, rows } = given;
    const batch = { kind: "decode", rows, contextTokens: 512 } as const;
    return stepTime(given.shape, withExpertWorkers(fleet, given.workers), { batch, microBatches, attentionWorkers });
  };

  it("never takes longer with a faster memory, processor or network", () => {
    fc.assert(
      fc.property(arbitrary, fc.constantFrom("read", "compute", "link"), (given, faster) => {
        const before = run(given).seconds;
        expect(run({ ...given, [faster]: given[faster] * 2 }).seconds).toBeLessThanOrEqual(before * (1 + 1e-12));
      }),
    );
  });

  it("takes no less than its busiest part, and no more than all parts in turns", () => {
    fc.assert(
      fc.property(arbitrary, (given) => {
        const { seconds, parts } = run(given);
        const { attention, hop, experts, combine, sample } = parts;
        expect(seconds).toBeGreaterThanOrEqual(Math.max(attention, experts) + sample - 1e-9);
        const turns = given.attentionWorkers * (attention + hop + experts + combine + sample);
        expect(seconds).toBeLessThanOrEqual(turns * (1 + 1e-9));
      }),
    );
  });
});
