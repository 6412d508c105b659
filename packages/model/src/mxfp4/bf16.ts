const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** The bits of the bf16 nearest to a value, ties to even; NaN stays NaN. */
export function toBf16(value: number): number {
  single[0] = value;
  const bits = singleBits[0] ?? 0;
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The value of bf16 bits, exactly. */
export function fromBf16(bits: number): number {
  singleBits[0] = bits << 16;
  return single[0] ?? 0;
}

/** Little-endian bf16 of any alignment as f32. */
export function bf16ToF32(bytes: Uint8Array): Float32Array {
  const values = new Float32Array(bytes.length >> 1);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < values.length; i++) bits[i] = ((bytes[2 * i] ?? 0) | ((bytes[2 * i + 1] ?? 0) << 8)) << 16;
  return values;
}
