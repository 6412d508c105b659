import { createHash } from "node:crypto";
import { toBf16 } from "../mxfp4/bf16.js";

/** Fills `words` with what belongs at word `firstWord` and after: any stretch of a tensor can be made alone. */
export type WordFiller = (words: Uint32Array, firstWord: number) => void;

/**
 * A counter-based generator: word i of a stream is a hash of i. The mixing is lowbias32, of Chris Wellons' "Prospecting for hash
 * functions". Not for secrets.
 */
function mix(counter: number, key: number): number {
  let x = (counter ^ key) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

interface StreamKey {
  readonly inner: number;
  readonly outer: number;
}

function streamKey(seed: number, name: string): StreamKey {
  const digest = createHash("sha256").update(`${seed}\n${name}`).digest();
  return { inner: digest.readUInt32LE(0), outer: digest.readUInt32LE(4) };
}

export interface StreamOptions {
  readonly seed: number;
  /** Streams of different names are unrelated. */
  readonly name: string;
}

/** Uniform bytes: as MXFP4 blocks, every code equally often. */
export function uniformFiller(options: StreamOptions): WordFiller {
  const { inner, outer } = streamKey(options.seed, options.name);
  return (words, firstWord) => {
    for (let i = 0; i < words.length; i++) words[i] = mix(firstWord + i, inner) ^ outer;
  };
}

/** bf16 values of a normal distribution, in 4096 quantiles. */
export function normalFiller(options: StreamOptions & { readonly mean: number; readonly std: number }): WordFiller {
  const { inner, outer } = streamKey(options.seed, options.name);
  const table = Uint16Array.from(normalQuantiles(), (quantile) => toBf16(options.mean + options.std * quantile));
  return (words, firstWord) => {
    for (let i = 0; i < words.length; i++) {
      const bits = mix(firstWord + i, inner) ^ outer;
      words[i] = (table[bits & 4095] ?? 0) | ((table[(bits >>> 16) & 4095] ?? 0) << 16);
    }
  };
}

/** Root mean square of the 16 codes, each equally often, times that of the scales' spread below. */
const PACKED_RMS = Math.sqrt(68.5 / 8) * 1.25;

/** MXFP4 scales such that uniform blocks have about this standard deviation; one in four is half, one in four is twice the usual. */
export function scaleFiller(options: StreamOptions & { readonly std: number }): WordFiller {
  const { inner, outer } = streamKey(options.seed, options.name);
  const usual = Math.min(Math.max(127 + Math.round(Math.log2(options.std / PACKED_RMS)), 1), 250);
  const table = Uint8Array.of(usual - 1, usual, usual, usual + 1);
  return (words, firstWord) => {
    for (let i = 0; i < words.length; i++) {
      const bits = mix(firstWord + i, inner) ^ outer;
      words[i] =
        (table[bits & 3] ?? 0) |
        ((table[(bits >>> 8) & 3] ?? 0) << 8) |
        ((table[(bits >>> 16) & 3] ?? 0) << 16) |
        ((table[(bits >>> 24) & 3] ?? 0) << 24);
    }
  };
}

let quantiles: Float64Array | undefined;

/** The 4096 quantiles of the standard normal distribution at (i + 1/2) / 4096. */
function normalQuantiles(): Float64Array {
  quantiles ??= Float64Array.from({ length: 4096 }, (_, i) => normalQuantile((i + 0.5) / 4096));
  return quantiles;
}

/** By bisection of the cumulative distribution: slow, exact enough, done 4096 times. */
function normalQuantile(probability: number): number {
  let [low, high] = [-8, 8];
  for (let step = 0; step < 50; step++) {
    const middle = (low + high) / 2;
    if (normalCdf(middle) < probability) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7. */
function normalCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const erf = 1 - polynomial * Math.exp(-z * z);
  return 0.5 * (1 + Math.sign(x) * erf);
}
