import { fromBf16, openCheckpoint, toBf16 } from "@moiety/model";
import { describe, expect, it } from "vitest";
import { availableLevels, openPrimitives, type Primitives } from "../src/index.js";
import { GOLDEN, readGolden } from "./safetensors.js";

const unit = readGolden("unit/unit.safetensors");

function largestDifference(actual: ArrayLike<number>, golden: ArrayLike<number>): number {
  expect(actual.length).toBe(golden.length);
  let largest = 0;
  for (let i = 0; i < golden.length; i++)
    largest = Math.max(largest, Math.abs((actual[i] ?? Number.NaN) - (golden[i] ?? Number.NaN)));
  return largest;
}

type AttentionSpec = Parameters<Primitives["attention"]>[0];

/** Attention of one row and query head after another, in doubles. */
function plainAttention({ q, k, v, sinks, kvHeads, group, headDim, window }: AttentionSpec): Float32Array {
  const heads = kvHeads * group;
  const dot = (i: number, head: number, j: number) => {
    let sum = 0;
    for (let d = 0; d < headDim; d++) {
      sum += (q[(i * heads + head) * headDim + d] ?? 0) * (k[(j * kvHeads + Math.floor(head / group)) * headDim + d] ?? 0);
    }
    return sum / Math.sqrt(headDim);
  };
  const out = new Float32Array(q.length);
  for (let i = 0; i < q.length / heads / headDim; i++) {
    for (let head = 0; head < heads; head++) {
      const first = window > 0 ? Math.max(0, i - window + 1) : 0;
      const weights = Array.from({ length: i - first + 1 }, (_, j) => Math.exp(dot(i, head, first + j)));
      const total = weights.reduce((sum, weight) => sum + weight, Math.exp(sinks[head] ?? 0));
      for (let d = 0; d < headDim; d++) {
        out[(i * heads + head) * headDim + d] = weights.reduce(
          (sum, weight, j) => sum + (weight / total) * (v[((first + j) * kvHeads + Math.floor(head / group)) * headDim + d] ?? 0),
          0,
        );
      }
    }
  }
  return out;
}

describe.each(availableLevels())("the reference's small functions at level %s", (level) => {
  const primitives = openPrimitives(level);

  it("normalises rows", () => {
    // The fixture's weights are no bf16 numbers, so they are applied here.
    const weight = unit.f32("rmsnorm.weight");
    const normed = primitives.rmsNorm({ x: unit.f32("rmsnorm.in"), weight: weight.map(() => 1), eps: 1e-5 });
    const actual = normed.map((value, i) => value * (weight[i % weight.length] ?? 0));
    expect(largestDifference(actual, unit.f32("rmsnorm.out"))).toBeLessThan(2e-6);
    const doubled = primitives.rmsNorm({ x: unit.f32("rmsnorm.in"), weight: weight.map(() => 2), eps: 1e-5 });
    expect(doubled).toEqual(normed.map((value) => 2 * value));
  });

  it.each([
    ["7", 7],
    ["2_5", 2.5],
  ])("applies SwiGLU with limit %s", (name, limit) => {
    const actual = primitives.swiglu({ u: unit.f32("swiglu.in"), limit });
    expect(largestDifference(actual, unit.f32(`swiglu.limit${name}.out`))).toBeLessThan(1e-5);
  });

  it.each(["all_bytes", "scales"])("unpacks MXFP4 exactly: %s", (name) => {
    const blocks = unit.u8(`mxfp4.${name}.blocks`);
    const actual = primitives.dequantiseMxfp4({ blocks, scales: unit.u8(`mxfp4.${name}.scales`), in: blocks.length * 2 });
    expect(largestDifference(actual, unit.f32(`mxfp4.${name}.values`))).toBe(0);
  });

  it.each(["A", "B"])("builds the rotary table of checkpoint %s and rotates with it", async (name) => {
    const { config } = await openCheckpoint(`${GOLDEN}ckpt/${name}`);
    const positions = unit.i32("rope.positions");
    const tables = primitives.ropeTables({ rope: config.rope, headDim: config.headDim, positions });
    expect(tables.concentration).toBeCloseTo(unit.f32(`rope.${name}.concentration`)[0] ?? 0, 6);
    const frequencies = unit.f32(`rope.${name}.inv_freq`);
    for (const [i, frequency] of frequencies.entries()) {
      expect(Math.abs((tables.inverseFrequency[i] ?? 0) / frequency - 1)).toBeLessThan(1e-6);
    }
    // The reference multiplies position and frequency in f32: off by half a unit in the last place of the angle, and more.
    const tolerance = (i: number) => 2e-6 + 2e-7 * (positions[Math.floor(i / 32)] ?? 0);
    for (const [table, golden] of [
      [tables.cos, unit.f32(`rope.${name}.cos`)],
      [tables.sin, unit.f32(`rope.${name}.sin`)],
    ] as const) {
      for (const [i, value] of golden.entries()) expect(Math.abs((table[i] ?? Number.NaN) - value)).toBeLessThan(tolerance(i));
    }
    const cos = unit.f32(`rope.${name}.cos`);
    const sin = unit.f32(`rope.${name}.sin`);
    const rotated = primitives.rope({ heads: unit.f32(`rope.${name}.q_in`), headDim: 64, cos, sin });
    expect(largestDifference(rotated, unit.f32(`rope.${name}.q_out`))).toBeLessThan(2e-6);
  });

  it.each([0, 1, 8])("attends with sinks and window %i", (window) => {
    const [q, k, v] = [unit.f32("attn.q"), unit.f32("attn.k"), unit.f32("attn.v")];
    const sinks = unit.f32("attn.sinks");
    const shape = { q, k, v, kvHeads: 2, group: 2, headDim: 64, window };
    // The fixture's sinks are no bf16 numbers: plain arithmetic is compared with the fixture, and the kernel with it.
    expect(largestDifference(plainAttention({ ...shape, sinks }), unit.f32(`attn.window${window}.out`))).toBeLessThan(5e-6);
    const rounded = sinks.map((sink) => fromBf16(toBf16(sink)));
    expect(
      largestDifference(primitives.attention({ ...shape, sinks }), plainAttention({ ...shape, sinks: rounded })),
    ).toBeLessThan(5e-6);
  });

  it("multiplies by bf16 weights of odd sizes as plain arithmetic does", () => {
    const [width, out, rows] = [53, 19, 5];
    const x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
    // Eighths up to 4 are exact in bf16.
    const weight = Float32Array.from({ length: out * width }, (_, i) => ((i * 7) % 65) / 8 - 4);
    const bias = Float32Array.from({ length: out }, (_, i) => i / 4);
    const expected = new Float32Array(rows * out);
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < out; o++) {
        let sum = bias[o] ?? 0;
        for (let i = 0; i < width; i++) sum += (x[r * width + i] ?? 0) * (weight[o * width + i] ?? 0);
        expected[r * out + o] = sum;
      }
    }
    expect(largestDifference(primitives.linearBf16({ x, weight, bias, in: width, out }), expected)).toBeLessThan(2e-5);
  });
});
