import { AppError, invariant } from "@moiety/core";

/** Inputs that share one scale. */
export const MXFP4_GROUP = 32;
/** Bytes of blocks of one group. */
export const MXFP4_GROUP_BYTES = 16;
/** A scale of 255 is NaN in the OCP Microscaling format. */
export const MXFP4_NAN_SCALE = 255;
const SCALE_BIAS = 127;
/** With a larger one the code 6 would not be finite in f32. */
const MAX_EXPONENT = 125;

/** Value of each code; bit 3 is the sign, so code 8 is -0. */
export const MXFP4_VALUES: readonly number[] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];

/** A packed matrix `[out, in]`: blocks `[out, in/32, 16]`, the even input of a pair in the low nibble, and scales `[out, in/32]`. */
export interface Mxfp4Matrix {
  readonly blocks: Uint8Array;
  readonly scales: Uint8Array;
}

export interface Mxfp4Sizes {
  readonly blocksBytes: number;
  readonly scalesBytes: number;
}

/** Bytes of `elements` packed values. */
export function mxfp4Sizes(elements: number): Mxfp4Sizes {
  invariant(elements % MXFP4_GROUP === 0, "MXFP4 packs groups of 32");
  return { blocksBytes: elements / 2, scalesBytes: elements / MXFP4_GROUP };
}

/**
 * The values of packed groups, in order: `code * 2^(scale - 127)`, exact in f32. (OCP Microscaling Formats 1.0, sections 5.3 and 6.3.)
 * INVALID_ARGUMENT if a scale is NaN.
 */
export function dequantiseMxfp4({ blocks, scales }: Mxfp4Matrix): Float32Array {
  invariant(blocks.length === scales.length * MXFP4_GROUP_BYTES, "there is one scale for every 16 bytes of blocks");
  const values = new Float32Array(blocks.length * 2);
  for (let group = 0; group < scales.length; group++) {
    const exponent = scales[group] ?? 0;
    if (exponent === MXFP4_NAN_SCALE) {
      throw new AppError("INVALID_ARGUMENT", `the scale of group ${group} is 255, which is NaN`, { details: { group } });
    }
    const scale = 2 ** (exponent - SCALE_BIAS);
    for (let j = group * MXFP4_GROUP_BYTES; j < (group + 1) * MXFP4_GROUP_BYTES; j++) {
      const pair = blocks[j] ?? 0;
      values[2 * j] = (MXFP4_VALUES[pair & 15] ?? 0) * scale;
      values[2 * j + 1] = (MXFP4_VALUES[pair >> 4] ?? 0) * scale;
    }
  }
  return values;
}

/**
 * Packs values in groups of 32. The scale is the power of two that brings the group's largest magnitude into the codes' range
 * without clipping it, 2^ceil(log2(max / 6)), but at most 2^125; each value becomes the nearest code, and of two equally near ones the even, as the
 * format's rounding has it. INVALID_ARGUMENT if a value is not finite.
 */
export function quantiseMxfp4(values: Float32Array): Mxfp4Matrix {
  const { blocksBytes, scalesBytes } = mxfp4Sizes(values.length);
  const [blocks, scales] = [new Uint8Array(blocksBytes), new Uint8Array(scalesBytes)];
  for (let group = 0; group < scalesBytes; group++) {
    const members = values.subarray(group * MXFP4_GROUP, (group + 1) * MXFP4_GROUP);
    const exponent = groupExponent(members);
    scales[group] = exponent + SCALE_BIAS;
    const scale = 2 ** exponent;
    for (let i = 0; i < MXFP4_GROUP; i += 2) {
      const low = nearestCode((members[i] ?? 0) / scale);
      const high = nearestCode((members[i + 1] ?? 0) / scale);
      blocks[(group * MXFP4_GROUP + i) / 2] = low | (high << 4);
    }
  }
  return { blocks, scales };
}

function groupExponent(members: Float32Array): number {
  let largest = 0;
  for (const value of members) {
    if (!Number.isFinite(value)) throw new AppError("INVALID_ARGUMENT", `expected finite values, found ${value}`);
    largest = Math.max(largest, Math.abs(value));
  }
  if (largest === 0) return -SCALE_BIAS;
  let exponent = Math.max(Math.floor(Math.log2(largest)) - 3, -SCALE_BIAS);
  while (largest > 6 * 2 ** exponent && exponent < MAX_EXPONENT) exponent += 1;
  return exponent;
}

/** The nearest code: how many midpoints between neighbouring magnitudes lie below. A value on a midpoint takes the even code. */
function nearestCode(value: number): number {
  const x = Math.abs(value);
  const code =
    Number(x > 0.25) +
    Number(x >= 0.75) +
    Number(x > 1.25) +
    Number(x >= 1.75) +
    Number(x > 2.5) +
    Number(x >= 3.5) +
    Number(x > 5);
  return code | (value < 0 || Object.is(value, -0) ? 8 : 0);
}
