import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { kvPools } from "../../../../services/attention-worker/src/kv-cache/kv-capacity.js";
import { presetDevice } from "./device-presets.js";
import { DEFAULT_LINK, type Fleet, RECORDED_HOP, withExpertWorkers } from "./fleet.js";
import { kvCacheBytes, memoryNeeds, slotsOf } from "./memory.js";
import { releasedShape } from "./plan-shape.js";

const SHAPE = releasedShape("120b");
const OF_24_GB: Fleet = {
  attention: [{ name: "attention", pool: "attention", device: presetDevice("rtx-4090") }],
  experts: [{ name: "experts", pool: "experts", device: presetDevice("rtx-4090") }],
  hop: RECORDED_HOP,
  link: DEFAULT_LINK,
  oneMachine: false,
};
const REQUEST = { sequences: 16, contextTokens: 4_096, replicas: 1, headroom: 0.1 };

describe("memoryNeeds", () => {
  it("fits 120b on four GPUs of 24 GB, one for attention and three for experts", () => {
    const needs = memoryNeeds(SHAPE, withExpertWorkers(OF_24_GB, 3), REQUEST);
    expect(needs.map(({ kind, lacksBytes }) => [kind, lacksBytes])).toEqual([
      ["attention", 0],
      ["experts", 0],
      ["experts", 0],
      ["experts", 0],
    ]);
    expect(needs[1]?.weightsBytes).toBe((36 * 128 * 13_236_480) / 3);
  });

  it("says which worker lacks how many bytes", () => {
    const small = { name: "small", pool: "small", device: { ...presetDevice("rtx-4090"), memoryBytes: 20e9 } };
    const fleet = { ...withExpertWorkers(OF_24_GB, 2), experts: [...withExpertWorkers(OF_24_GB, 2).experts, small] };
    const lacking = memoryNeeds(SHAPE, fleet, REQUEST).filter(({ lacksBytes }) => lacksBytes > 0);
    // 1,536 experts of 13,236,480 bytes, and a tenth of 20 GB kept free.
    expect(lacking).toEqual([expect.objectContaining({ worker: "small", lacksBytes: 20_331_233_280 + 2e9 - 20e9 })]);
  });

  it("counts weights once on one machine, and each attention worker's cache", () => {
    const fleet = { ...OF_24_GB, attention: [...OF_24_GB.attention, ...OF_24_GB.attention], oneMachine: true };
    const [need, ...others] = memoryNeeds(SHAPE, withExpertWorkers(fleet, 4), { ...REQUEST, replicas: 2 });
    expect(others).toEqual([]);
    expect(need?.weightsBytes).toBe(SHAPE.attentionWorkerBytes + 4_608 * 13_236_480);
    expect(need?.kvBytes).toBe(2 * kvCacheBytes(SHAPE, REQUEST));
    expect(need?.lacksBytes).toBeGreaterThan(0);
  });

  it("lacks nothing exactly where weights, cache and headroom go into the memory", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 80 }),
        fc.double({ min: 0, max: 0.5, noNaN: true }),
        (count, gb, headroom) => {
          const device = { ...presetDevice("l4"), memoryBytes: gb * 1e9 };
          const fleet = withExpertWorkers({ ...OF_24_GB, experts: [{ name: "w", pool: "w", device }] }, count);
          for (const need of memoryNeeds(SHAPE, fleet, { ...REQUEST, headroom })) {
            const over = need.weightsBytes + need.kvBytes + need.headroomBytes - need.memoryBytes;
            expect(need.lacksBytes).toBe(Math.max(0, over));
          }
        },
      ),
    );
  });
});

describe("slotsOf", () => {
  it("places every copy of every expert of every layer once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 4 }), (workers, replicas) => {
        const slots = slotsOf(SHAPE, workers, replicas);
        expect(slots.reduce((sum, held) => sum + held, 0)).toBe(36 * 128 * Math.min(replicas, workers));
        expect(Math.max(...slots) - Math.min(...slots)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("kvCacheBytes", () => {
  it("is what the attention worker's pools take", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2_048 }), fc.integer({ min: 1, max: 131_072 }), (sequences, contextTokens) => {
        const pools = kvPools({
          tokens: sequences * contextTokens,
          pageTokens: 16,
          slidingWindow: 128,
          maxSequences: sequences,
          stepTokens: Math.max(512, sequences),
        });
        const pages = 18 * (pools.fullPages + pools.slidingPages);
        expect(kvCacheBytes(SHAPE, { ...REQUEST, sequences, contextTokens })).toBe(pages * 16 * SHAPE.positionBytes);
      }),
    );
  });
});
