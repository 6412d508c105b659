import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { benchedShape, checkPrediction } from "./check.js";
import { computeSeconds } from "./device.js";
import { RECORDED_HOP } from "./fleet.js";
import { benchmarkOf, fitHop, measuredDevice, measuredHop, parseMeasured } from "./measured.js";

/** The runs of docs/benchmarks.md. */
const recordedJson = () => JSON.parse(readFileSync(new URL("../../fixtures/recorded-bench.json", import.meta.url), "utf8"));
const recorded = parseMeasured(recordedJson(), "recorded-bench.json");

describe("fitHop", () => {
  it("finds the line that hops lie on", () => {
    const line = fc.record({ constantUs: fc.integer({ min: 1, max: 1_000 }), usPerKb: fc.integer({ min: 0, max: 100 }) });
    fc.assert(
      fc.property(line, ({ constantUs, usPerKb }) => {
        const hops = [1, 8, 64, 256].map((rows) => ({ bytes: rows * 5_760, medianUs: constantUs + usPerKb * 2 * rows * 5.76 }));
        const fitted = fitHop(hops);
        expect(fitted.constantUs).toBeCloseTo(constantUs, 3);
        expect(fitted.usPerKb).toBeCloseTo(usPerKb, 6);
      }),
    );
  });

  it("has no negative cost when hops get faster with their size", () => {
    expect(
      fitHop([
        { bytes: 1_000, medianUs: 200 },
        { bytes: 2_000, medianUs: 100 },
      ]).usPerKb,
    ).toBe(0);
  });

  it("gives the default for the recorded hops", () => {
    const { constantUs, usPerKb } = measuredHop(recorded);
    expect(constantUs).toBeCloseTo(RECORDED_HOP.constantUs, 0);
    expect(usPerKb).toBeCloseTo(RECORDED_HOP.usPerKb, 2);
  });
});

describe("measuredDevice", () => {
  it("is the machine with the rates of its linears", () => {
    const device = measuredDevice(recorded, { activation: "bf16" });
    expect(device).toMatchObject({ memoryBytes: 25_276_514_304, readBytesPerSecond: 23.5e9 });
    // 1,559 us for one row of 2,880 x 5,760, and 20,967 for 32.
    const rowFlops = 2 * 2_880 * 5_760;
    expect(computeSeconds(device.mxfp4, { rows: 1, rowFlops }) * 1e6).toBeCloseTo(1_559, -1);
    expect(computeSeconds(device.mxfp4, { rows: 32, rowFlops }) * 1e6).toBeCloseTo(20_967, -1);
    expect(computeSeconds(device.mxfp4, { rows: 20, rowFlops }) * 1e6).toBeCloseTo((7_126 + 20_967) / 2, -1);
  });

  it("scales what reading binds with reading, and what arithmetic binds with arithmetic", () => {
    const limits = { threads: 2, readGbPerSecond: 47, fmaGflopPerSecond: 103, bf16GflopPerSecond: 309, int8GopPerSecond: 103 };
    const then = measuredDevice(recorded, { activation: "bf16" });
    const now = measuredDevice(recorded, { threads: 2, now: limits, activation: "bf16" });
    expect((now.bf16[0]?.flopPerSecond ?? 0) / (then.bf16[0]?.flopPerSecond ?? 1)).toBeCloseTo(2, 9);
    expect((now.bf16[4]?.flopPerSecond ?? 0) / (then.bf16[4]?.flopPerSecond ?? 1)).toBeCloseTo(3, 9);
  });

  it("says what was not measured", () => {
    expect(() => measuredDevice(recorded, { threads: 7 })).toThrow("nothing was measured with 7 threads");
    expect(() => measuredDevice(recorded, { activation: "int8" })).toThrow("nothing was measured as int8 linears with 2 threads");
    expect(() => measuredDevice(recorded, { activation: "f32" })).toThrow("nothing was measured with activations in f32");
    const { kernels: _kernels, ...benchmarks } = recorded.benchmarks;
    expect(() => measuredDevice({ ...recorded, benchmarks })).toThrow(
      /benchmarks\.kernels is missing; measure with: moiety bench/,
    );
  });

  it("names the field that is wrong", () => {
    const json = recordedJson();
    json.benchmarks.kernels.linears[0].rows = "one";
    expect(() => parseMeasured(json, "bench.json")).toThrow(/^bench\.json: benchmarks\.kernels\.linears\.0\.rows: /);
  });
});

describe("checkPrediction", () => {
  const cases = checkPrediction(recorded, benchedShape(benchmarkOf(recorded, "model")));

  it("meets the goal in most cases of the recorded run, though its machine had other work", () => {
    expect(cases).toHaveLength(10);
    expect(cases.filter(({ withinGoal }) => withinGoal).length).toBeGreaterThanOrEqual(7);
    for (const { ratio } of cases) expect(Math.abs(Math.log2(ratio))).toBeLessThanOrEqual(1.05);
  });

  it("compares a co-located prefill by hand", () => {
    const prefill = cases.find(({ experts, kind, rows }) => experts === "co-located" && kind === "prefill" && rows === 512);
    // 2,048 pairs in each of 4 layers, 64 per expert; the rate of 32 to 128 rows is 51 to 60 GFLOP/s, at limits of 207 instead of 103.
    expect(prefill?.compute.predictedMs).toBeGreaterThan((4 * 2_048 * 49.7664e6) / (60e9 * 2.01) / 1e-3);
    expect(prefill?.compute.predictedMs).toBeLessThan((4 * 2_048 * 49.7664e6) / (50e9 * 2.01) / 1e-3);
    expect(prefill?.compute.measuredMs).toBeCloseTo(0.76 * 4_611, 6);
    expect(prefill?.hop.predictedMs).toBe(0);
    expect(prefill?.ratio).toBeCloseTo((prefill?.step.predictedMs ?? 0) / 4_611, 12);
  });

  it("asks for the checkpoint of a shape that it does not know", () => {
    const json = recordedJson();
    json.benchmarks.model.checkpoint.hiddenSize = 128;
    expect(() => benchedShape(parseMeasured(json, "f").benchmarks.model as never)).toThrow(
      /hidden size of 128.*name the checkpoint's folder/,
    );
  });
});
