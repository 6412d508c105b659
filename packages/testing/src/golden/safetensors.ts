import { readFileSync } from "node:fs";

export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array | Uint8Array;
}

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Reads a small safetensors file whole. Knows F32, I32 and U8, which is what the fixtures have. Little-endian machines only. */
export function readGoldenTensors(path: string): ReadonlyMap<string, GoldenTensor> {
  const file = readFileSync(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Readonly<Record<string, HeaderEntry>>;
  const tensors = new Map<string, GoldenTensor>();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const bytes = Uint8Array.from(file.subarray(8 + headerBytes + offsets[0], 8 + headerBytes + offsets[1]));
    tensors.set(name, { shape, values: viewAs(dtype, bytes.buffer) });
  }
  return tensors;
}

function viewAs(dtype: string, buffer: ArrayBuffer): GoldenTensor["values"] {
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "I32") return new Int32Array(buffer);
  if (dtype === "U8") return new Uint8Array(buffer);
  throw new Error(`a golden file has a tensor of type ${dtype}, expected F32, I32 or U8`);
}
