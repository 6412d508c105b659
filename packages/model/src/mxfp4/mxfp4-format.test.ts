import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { readSafetensorsHeader } from "../safetensors/read-safetensors.js";
import type { TensorRef } from "../tensor-ref.js";
import { bf16ToF32, fromBf16, toBf16 } from "./bf16.js";
import { dequantiseMxfp4, MXFP4_VALUES, mxfp4Sizes, quantiseMxfp4 } from "./mxfp4-format.js";

const fixture = (path: string) => fileURLToPath(new URL(`../../../testing/fixtures/golden/${path}`, import.meta.url));

async function unitTensor(name: string): Promise<Float32Array> {
  const path = fixture("unit/unit.safetensors");
  const tensor = (await readSafetensorsHeader(path)).tensors.find((candidate) => candidate.name === name);
  if (tensor === undefined) throw new Error(`${name} is not in the fixture`);
  const bytes = readFileSync(path).subarray(tensor.offsetBytes, tensor.offsetBytes + tensor.lengthBytes);
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

function bytesOf({ file, offsetBytes, lengthBytes }: TensorRef): Uint8Array {
  return readFileSync(file).subarray(offsetBytes, offsetBytes + lengthBytes);
}

describe("dequantiseMxfp4", () => {
  it.each([
    ["A", 0, 0, "gateUp", "mxfp4.A.layer0.expert0.gate_up_proj"],
    ["A", 1, 7, "down", "mxfp4.A.layer1.expert7.down_proj"],
  ] as const)("equals the reference on checkpoint %s, layer %i, expert %i, %s", async (name, layer, expert, which, golden) => {
    const weight = (await openCheckpoint(fixture(`ckpt/${name}`))).expertRefs(layer, expert)[which];
    if (weight.kind !== "mxfp4") throw new Error("expected packed experts");
    const values = dequantiseMxfp4({ blocks: bytesOf(weight.blocks), scales: bytesOf(weight.scales) });
    expect(values).toEqual(await unitTensor(golden));
  });

  it("equals the unquantised checkpoint, which is transposed", async () => {
    const [packed, plain] = await Promise.all(["A", "A-bf16"].map((name) => openCheckpoint(fixture(`ckpt/${name}`))));
    const [left, right] = [packed?.expertRefs(1, 3).gateUp, plain?.expertRefs(1, 3).gateUp];
    if (left?.kind !== "mxfp4" || right?.kind !== "bf16-transposed") throw new Error("expected the two formats");
    const values = dequantiseMxfp4({ blocks: bytesOf(left.blocks), scales: bytesOf(left.scales) });
    const transposed = bf16ToF32(bytesOf(right.weight));
    const [inner = 0, out = 0] = right.weight.shape;
    const restored = Float32Array.from(
      { length: values.length },
      (_, i) => transposed[(i % inner) * out + Math.floor(i / inner)] ?? Number.NaN,
    );
    expect(restored).toEqual(values);
  });

  it("refuses a scale that is NaN", () => {
    const matrix = { blocks: new Uint8Array(32), scales: Uint8Array.of(127, 255) };
    expect(() => dequantiseMxfp4(matrix)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/group 1/) }),
    );
  });

  it("gives every code its value, the even input from the low nibble", () => {
    const blocks = Uint8Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4));
    const values = dequantiseMxfp4({ blocks, scales: Uint8Array.of(128) });
    expect([...values]).toEqual(
      Array.from({ length: 32 }, (_, i) => 2 * (MXFP4_VALUES[i % 2 === 0 ? i / 2 : 15 - (i - 1) / 2] ?? 0)),
    );
  });
});

const finite = fc.float({ noNaN: true, noDefaultInfinity: true });

describe("quantiseMxfp4", () => {
  it("gives back what was packed", () => {
    const packable = fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer({ min: 1, max: 252 }));
    fc.assert(
      fc.property(packable, ([blocks, scale]) => {
        const values = dequantiseMxfp4({ blocks, scales: Uint8Array.of(scale) });
        expect(dequantiseMxfp4(quantiseMxfp4(values))).toEqual(values);
      }),
    );
  });

  it("gives the nearest value that the group's scale can express", () => {
    fc.assert(
      fc.property(fc.array(finite, { minLength: 32, maxLength: 32 }), (members) => {
        const values = Float32Array.from(members);
        const packed = quantiseMxfp4(values);
        const scale = 2 ** ((packed.scales[0] ?? 0) - 127);
        const result = dequantiseMxfp4(packed);
        values.forEach((value, i) => {
          const error = Math.abs((result[i] ?? Number.NaN) - value);
          const best = Math.min(...MXFP4_VALUES.map((code) => Math.abs(code * scale - value)));
          expect(error).toBe(best);
        });
      }),
    );
  });

  it("rounds ties to the even code", () => {
    const ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.25, -5, 6];
    const values = Float32Array.from({ length: 32 }, (_, i) => ties[i] ?? 0);
    expect([...dequantiseMxfp4(quantiseMxfp4(values)).subarray(0, 10)]).toEqual([0, 1, 1, 2, 2, 4, 4, -0, -4, 6]);
  });

  it("refuses what is not finite", () => {
    expect(() => quantiseMxfp4(new Float32Array(32).fill(Number.NaN))).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("needs 17 bytes for 32 values", () => {
    expect(mxfp4Sizes(64)).toEqual({ blocksBytes: 32, scalesBytes: 2 });
  });
});

describe("bf16", () => {
  it("gives back every bf16 value", () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = fromBf16(bits);
      if (!Number.isNaN(value)) expect(toBf16(value)).toBe(bits);
    }
  });

  it("rounds ties to even", () => {
    expect(toBf16(1 + 2 ** -8)).toBe(0x3f80);
    expect(toBf16(1 + 3 * 2 ** -8)).toBe(0x3f82);
    expect(toBf16(Number.NaN)).toBe(0x7fc0);
  });
});
