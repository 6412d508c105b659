import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { computeSeconds } from "./device.js";
import { DEVICE_NAMES, presetDevice } from "./device-presets.js";
import { DEFAULT_LINK, NO_LINK, parseFleet, RECORDED_HOP, withExpertWorkers } from "./fleet.js";
import { releasedShape } from "./plan-shape.js";
import { predict } from "./predict.js";

const OWN = { memoryBytes: 64e9, readGbPerSecond: 200, bf16GflopPerSecond: 3_000, mxfp4GflopPerSecond: 1_500 };

describe("parseFleet", () => {
  it("takes presets, own figures and counts, and fills in what is not said", () => {
    const fleet = parseFleet(
      { attention: [{ device: "h100" }], experts: [{ name: "cpu", device: OWN, count: 2 }, { device: "l4" }] },
      "f",
    );
    expect(fleet.attention.map(({ name }) => name)).toEqual(["attention"]);
    expect(fleet.experts.map(({ name }) => name)).toEqual(["cpu-0", "cpu-1", "experts-1"]);
    expect(fleet.experts[0]?.device).toMatchObject({ readBytesPerSecond: 200e9, mxfp4: [{ rows: 1, flopPerSecond: 1.5e12 }] });
    expect(fleet).toMatchObject({ hop: RECORDED_HOP, link: DEFAULT_LINK, oneMachine: false });
    const local = parseFleet({ attention: [{ device: "laptop" }], experts: [{ device: "laptop" }], oneMachine: true }, "f");
    expect(local.link).toEqual(NO_LINK);
  });

  it.each([
    [{ experts: [{ device: "l4" }] }, "fleet.json: attention: "],
    [{ attention: [], experts: [{ device: "l4" }] }, "fleet.json: attention: "],
    [{ attention: [{ device: "l5" }], experts: [{ device: "l4" }] }, "fleet.json: attention.0.device: "],
    [{ attention: [{ device: "l4" }], experts: [{ device: "l4", count: 65 }] }, "fleet.json: experts.0.count: "],
    [{ attention: [{ device: "l4" }], experts: [{ device: "l4" }], lnik: {} }, "fleet.json: (top level): "],
  ])("refuses %j and names the field", (value, message) => {
    expect(() => parseFleet(value, "fleet.json")).toThrow(message);
  });
});

describe("withExpertWorkers", () => {
  const fleet = parseFleet(
    {
      attention: [{ device: "l4" }],
      experts: [
        { name: "a", device: "l4" },
        { name: "b", device: "h100" },
      ],
    },
    "f",
  );

  it("takes the first ones, and repeats the list", () => {
    expect(withExpertWorkers(fleet, 1).experts).toEqual([fleet.experts[0]]);
    expect(withExpertWorkers(fleet, 3).experts.map(({ name }) => name)).toEqual(["a/0", "b/0", "a/1"]);
  });

  it("divides one machine's speed, and not its memory", () => {
    const [worker] = withExpertWorkers({ ...fleet, oneMachine: true }, 4).experts;
    expect(worker?.device.readBytesPerSecond).toBe(presetDevice("l4").readBytesPerSecond / 4);
    expect(worker?.device.memoryBytes).toBe(24e9);
  });
});

describe("computeSeconds", () => {
  it("grows with the rows on every preset", () => {
    fc.assert(
      fc.property(fc.constantFrom(...DEVICE_NAMES), fc.double({ min: 1, max: 600, noNaN: true }), (name, rows) => {
        const { mxfp4 } = presetDevice(name);
        const seconds = computeSeconds(mxfp4, { rows, rowFlops: 1e6 });
        expect(computeSeconds(mxfp4, { rows: rows * 1.1, rowFlops: 1e6 })).toBeGreaterThan(seconds);
      }),
    );
  });
});

describe("predict", () => {
  const shape = releasedShape("20b");
  const fleet = parseFleet({ attention: [{ device: "h100", count: 2 }], experts: [{ device: "l4" }] }, "f");
  const workload = { batches: [1, 8, 64, 256], contextTokens: 1_024, prefillTokens: 256 };
  const request = { shape, fleet, workload, expertWorkers: [1, 2, 32], replicas: 1, headroom: 0.1 };

  it("gives every expert of a layer to one worker, for each number of workers", () => {
    for (const { expertWorkers, expertsOfLayer, memory } of predict(request)) {
      expect(expertsOfLayer).toHaveLength(expertWorkers);
      expect(expertsOfLayer.reduce((sum, held) => sum + held, 0)).toBe(32);
      expect(memory.reduce((sum, { slots }) => sum + slots, 0)).toBe(24 * 32);
    }
  });

  it("sizes the cache for the largest batch, divided over the attention workers", () => {
    const [first] = predict(request);
    const [alone] = predict({
      ...request,
      workload: { ...workload, batches: [128] },
      fleet: { ...fleet, attention: fleet.attention.slice(0, 1) },
    });
    expect(first?.memory[0]?.kvBytes).toBe(alone?.memory[0]?.kvBytes);
  });

  it("splits steps as attention workers do: from 16 rows per half", () => {
    const decode = predict(request)[1]?.decode ?? [];
    expect(decode.map(({ batch, msPerToken, overlapped }) => [batch, msPerToken === (overlapped?.seconds ?? 0) * 1_000])).toEqual(
      [
        [1, false],
        [8, false],
        [64, true],
        [256, true],
      ],
    );
    for (const { batch, tokensPerSecond, msPerToken } of decode)
      expect(tokensPerSecond * msPerToken).toBeCloseTo(batch * 1_000, 6);
  });

  it("refuses more workers than a layer has experts", () => {
    expect(() => predict({ ...request, expertWorkers: [33] })).toThrow(
      "--experts: expected at most the 32 experts of a layer, found 33",
    );
  });
});
