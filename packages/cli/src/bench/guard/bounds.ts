import type { KernelLevel } from "@moiety/kernels";

/** What one ratio is, and how far it may go. */
export interface Bound {
  readonly name: string;
  /** The ratio's denominator, measured in the same run. */
  readonly of: string;
  readonly bound: number;
  /** `floor`: smaller is worse. `ceiling`: greater is worse. */
  readonly kind: "floor" | "ceiling";
}

export interface Judged extends Bound {
  /** The best of the tries. */
  readonly ratio: number;
  readonly ok: boolean;
}

/** The better of two ratios. */
export const better = (kind: Bound["kind"], left: number, right: number): number =>
  kind === "floor" ? Math.max(left, right) : Math.min(left, right);

export const judge = (bound: Bound, ratio: number): Judged => ({
  ...bound,
  ratio,
  ok: bound.kind === "floor" ? ratio >= bound.bound : ratio <= bound.bound,
});

type Shares = Readonly<Record<"pairs" | "mxfp4" | "int8", { readonly one: number; readonly many: number }>>;

/**
 * Shares of one thread's limits: of reading with one row, of the format's multiply-adds with 512 rows. Low enough for the slowest of the
 * processors in docs/benchmarks.md (regression guard) and for noise, and, but for one row of mxfp4, too high for half of its speed.
 */
const KERNEL_SHARES: Readonly<Partial<Record<KernelLevel, Shares>>> = {
  avx512: { pairs: { one: 0.5, many: 0.5 }, mxfp4: { one: 0.15, many: 0.37 }, int8: { one: 0.5, many: 0.4 } },
  avx2: { pairs: { one: 0.5, many: 0.5 }, mxfp4: { one: 0.15, many: 0.45 }, int8: { one: 0.5, many: 0.3 } },
};

/** None for levels whose shares nobody has measured. */
export function kernelBounds(level: KernelLevel): readonly (Bound & { readonly format: keyof Shares; readonly rows: number })[] {
  const shares = KERNEL_SHARES[level];
  if (shares === undefined) return [];
  return (["pairs", "mxfp4", "int8"] as const).flatMap((format) => [
    { format, rows: 1, name: `${format}, 1 row`, of: "memory read", bound: shares[format].one, kind: "floor" },
    { format, rows: 512, name: `${format}, 512 rows`, of: "multiply-adds", bound: shares[format].many, kind: "floor" },
  ]);
}

export const HOP_BOUND: Bound = { name: "hop, 64 rows, TCP", of: "bare TCP", bound: 5, kind: "ceiling" };

export const STEP_BOUND: Bound = { name: "JavaScript of a step, 64 sequences", of: "the yardstick", bound: 13, kind: "ceiling" };
