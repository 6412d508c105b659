import type { RopeConfig } from "@moiety/model";
import { loadAddon } from "./addon.js";
import type { KernelLevel, Sample, SampleRow } from "./types.js";

export interface RopeTables {
  /** `[headDim/2]` radians per position. */
  readonly inverseFrequency: Float64Array;
  readonly concentration: number;
  /** `[positions, headDim/2]`, multiplied by the concentration. */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * The arithmetic of one level, function by function: synchronous, on one thread, for tests. Weights that the checkpoint
 * has in bf16 are given in f32 and rounded.
 */
export interface Primitives {
  /** x `[rows, weight.length]`. */
  rmsNorm(spec: { readonly x: Float32Array; readonly weight: Float32Array; readonly eps: number }): Float32Array;
  ropeTables(spec: { readonly rope: RopeConfig; readonly headDim: number; readonly positions: Int32Array }): RopeTables;
  /** heads `[rows, heads, headDim]`; cos and sin `[rows, headDim/2]`. */
  rope(spec: {
    readonly heads: Float32Array;
    readonly headDim: number;
    readonly cos: Float32Array;
    readonly sin: Float32Array;
  }): Float32Array;
  /** u `[2*intermediate]`, gate and up alternating. */
  swiglu(spec: { readonly u: Float32Array; readonly limit: number }): Float32Array;
  /** x `[rows, in]`, weight `[out, in]`; result `[rows, out]`. */
  linearBf16(spec: {
    readonly x: Float32Array;
    readonly weight: Float32Array;
    readonly bias?: Float32Array;
    readonly in: number;
    readonly out: number;
  }): Float32Array;
  /** x `[rows, in]`, blocks `[out, in/32, 16]`, scales `[out, in/32]`; result `[rows, out]`. */
  linearMxfp4(spec: {
    readonly x: Float32Array;
    readonly blocks: Uint8Array;
    readonly scales: Uint8Array;
    readonly in: number;
    readonly out: number;
  }): Float32Array;
  /** Values `[out, in]` of packed weights, by multiplying the identity. */
  dequantiseMxfp4(spec: { readonly blocks: Uint8Array; readonly scales: Uint8Array; readonly in: number }): Float32Array;
  /** q `[positions, kvHeads, group, headDim]`, k and v `[positions, kvHeads, headDim]`, sinks `[kvHeads*group]`; window 0: none. */
  attention(spec: {
    readonly q: Float32Array;
    readonly k: Float32Array;
    readonly v: Float32Array;
    readonly sinks: Float32Array;
    readonly kvHeads: number;
    readonly group: number;
    readonly headDim: number;
    readonly window: number;
  }): Float32Array;
  /** One draw from `logits [vocab]`; `row.row` is 0. Throws where an engine gives an Error as the row's result. */
  sample(spec: { readonly logits: Float32Array; readonly row: SampleRow }): Sample;
}

/** The addon's functions: the same, with the level first. */
export type NativePrimitives = {
  readonly [Name in Exclude<keyof Primitives, "dequantiseMxfp4">]: (
    level: KernelLevel,
    spec: Parameters<Primitives[Name]>[0],
  ) => ReturnType<Primitives[Name]>;
};

/** FAILED_PRECONDITION when the addon is not built. */
export function openPrimitives(level: KernelLevel): Primitives {
  const native = loadAddon().primitives;
  const linearMxfp4: Primitives["linearMxfp4"] = (spec) => native.linearMxfp4(level, spec);
  return {
    rmsNorm: (spec) => native.rmsNorm(level, spec),
    ropeTables: (spec) => native.ropeTables(level, spec),
    rope: (spec) => native.rope(level, spec),
    swiglu: (spec) => native.swiglu(level, spec),
    linearBf16: (spec) => native.linearBf16(level, spec),
    linearMxfp4,
    dequantiseMxfp4: (spec) => dequantise(linearMxfp4, spec),
    attention: (spec) => native.attention(level, spec),
    sample: (spec) => native.sample(level, spec),
  };
}

function dequantise(
  linear: Primitives["linearMxfp4"],
  { blocks, scales, in: width }: Parameters<Primitives["dequantiseMxfp4"]>[0],
): Float32Array {
  const out = (blocks.length * 2) / width;
  const identity = new Float32Array(width * width);
  for (let i = 0; i < width; i++) identity[i * width + i] = 1;
  const columns = linear({ x: identity, blocks, scales, in: width, out });
  const values = new Float32Array(out * width);
  for (let i = 0; i < width; i++) for (let o = 0; o < out; o++) values[o * width + i] = columns[i * out + o] ?? Number.NaN;
  return values;
}
