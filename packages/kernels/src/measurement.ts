/**
 * Work of a measurement on synthetic data: memory read; multiply-adds of f32 (fused), of pairs of bf16 or of int8; or `copies` linears
 * one after the other. Format pairs: bf16 weights, packed, times rows in bf16; int8: MXFP4 weights, repacked, times rows in int8.
 */
export type MeasurementSpec =
  | { readonly kind: "read"; readonly bytes: number }
  | { readonly kind: "fma" }
  | { readonly kind: "pairs" }
  | { readonly kind: "int8" }
  | {
      readonly kind: "linear";
      readonly format: "bf16" | "pairs" | "mxfp4" | "int8";
      readonly in: number;
      readonly out: number;
      readonly rows: number;
      readonly copies: number;
    };

/** The best time of one run, with the weight bytes that it read and the operations that it did. */
export interface Measurement {
  readonly seconds: number;
  readonly bytes: number;
  readonly flops: number;
}
