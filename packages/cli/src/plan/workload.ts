/** What the fleet is asked to do. */
export interface Workload {
  /** Sequences that get a token each in a step, all attention workers together; several cases. */
  readonly batches: readonly number[];
  /** Tokens of every sequence. */
  readonly contextTokens: number;
  /** Tokens of a prompt that one step takes: MOIETY_PREFILL_CHUNK_TOKENS. */
  readonly prefillTokens: number;
}

/** Rows that go through the layers together, on one attention worker. */
export type Batch =
  /** So many sequences get one token each. */
  | { readonly kind: "decode"; readonly rows: number; readonly contextTokens: number }
  /** The first tokens of one prompt; only the last row is drawn from. */
  | { readonly kind: "prefill"; readonly rows: number };
