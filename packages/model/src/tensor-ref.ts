export type TensorDtype = "bf16" | "u8" | "f32";

/** Where a tensor, or a slice of one along dimension 0, lies on disk. Row-major, little-endian, not necessarily aligned. */
export interface TensorRef {
  /** Absolute path of the safetensors file. */
  readonly file: string;
  readonly name: string;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface LinearRefs {
  /** `[out, in]` bf16. */
  readonly weight: TensorRef;
  /** `[out]` bf16. */
  readonly bias: TensorRef;
}

/** What an attention worker reads of one layer. */
export interface AttentionLayerRefs {
  readonly attentionNorm: TensorRef;
  readonly query: LinearRefs;
  readonly key: LinearRefs;
  readonly value: LinearRefs;
  readonly output: LinearRefs;
  /** `[queryHeads]` bf16. */
  readonly sinks: TensorRef;
  readonly mlpNorm: TensorRef;
  /** `[experts, hidden]`. */
  readonly router: LinearRefs;
}

/** What an attention worker reads: everything but the experts. */
export interface AttentionRefs {
  readonly embedding: TensorRef;
  readonly finalNorm: TensorRef;
  readonly unembedding: TensorRef;
  readonly layers: readonly AttentionLayerRefs[];
}

/** One expert's weights of one projection: `blocks [out, in/32, 16]` and `scales [out, in/32]`. */
export interface Mxfp4Refs {
  readonly kind: "mxfp4";
  readonly blocks: TensorRef;
  readonly scales: TensorRef;
}

/** Unquantised experts, stored transposed: `[in, out]` bf16. */
export interface TransposedRefs {
  readonly kind: "bf16-transposed";
  readonly weight: TensorRef;
}

export type ExpertWeightRefs = Mxfp4Refs | TransposedRefs;

/** One expert of one layer. Gate and up rows alternate in `gateUp`. */
export interface ExpertRefs {
  readonly layer: number;
  readonly expert: number;
  /** `[2*intermediate, hidden]`. */
  readonly gateUp: ExpertWeightRefs;
  /** `[2*intermediate]` bf16. */
  readonly gateUpBias: TensorRef;
  /** `[hidden, intermediate]`. */
  readonly down: ExpertWeightRefs;
  /** `[hidden]` bf16. */
  readonly downBias: TensorRef;
}
