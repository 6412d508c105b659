import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Tensors of a golden file by name. */
export interface GoldenFile {
  f32(name: string): Float32Array;
  i32(name: string): Int32Array;
  u8(name: string): Uint8Array;
  has(name: string): boolean;
}

interface Entry {
  readonly data_offsets: readonly [number, number];
}

export const GOLDEN = fileURLToPath(new URL("../../testing/fixtures/golden/", import.meta.url));

/** Reads golden/NAME.safetensors or unit/unit.safetensors. */
export function readGolden(path: string): GoldenFile {
  const file = readFileSync(`${GOLDEN}${path}`);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString("utf8")) as Record<string, Entry>;
  const bytes = (name: string): ArrayBuffer => {
    const entry = header[name];
    if (entry === undefined) throw new Error(`${path} has no tensor ${name}`);
    const [begin, end] = entry.data_offsets;
    return new Uint8Array(file.subarray(8 + headerBytes + begin, 8 + headerBytes + end)).buffer;
  };
  return {
    f32: (name) => new Float32Array(bytes(name)),
    i32: (name) => new Int32Array(bytes(name)),
    u8: (name) => new Uint8Array(bytes(name)),
    has: (name) => name in header,
  };
}
