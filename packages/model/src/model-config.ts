export type AttentionKind = "full" | "sliding";

/** YaRN, as gpt-oss applies it (correction range not rounded). */
export interface RopeConfig {
  readonly theta: number;
  readonly factor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly originalContext: number;
  readonly truncate: boolean;
}

/** A checkpoint's shape, whichever of the three spellings its config.json uses. */
export interface ModelConfig {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly headDim: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly vocabSize: number;
  readonly slidingWindow: number;
  /** One entry per layer. */
  readonly attention: readonly AttentionKind[];
  readonly rope: RopeConfig;
  readonly maxContext: number;
  readonly rmsNormEps: number;
  readonly swigluLimit: number;
  readonly tiedEmbeddings: boolean;
  /** Tokens that end a generation; may be empty. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | undefined;
}
