import type { IncrementalDecoder } from "./incremental-decoder.js";

export interface EncodeOptions {
  /**
   * Whether text that spells a special token becomes that token. Only for text that the server itself wrote: with user text it
   * would let anyone forge the end of a message.
   */
  readonly allowSpecial: boolean;
}

/** Text to tokens and back, byte for byte. */
export interface Tokenizer {
  /** One more than the largest id of a token. The model's vocabulary may be larger. */
  readonly vocabSize: number;
  /** Ids of the special tokens by their text, such as `<|start|>`. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /**
   * The tokens of a text. Runs off the event loop. Lone surrogates, which no UTF-8 has, become U+FFFD.
   * INVALID_ARGUMENT if the text or its tokens are more than the tokenizer's limits.
   */
  encode(text: string, options: EncodeOptions): Promise<Int32Array>;
  /**
   * The tokens of texts, each by itself and none of them special, with tokens between them. As {@link encode}, at once for all.
   * The limits are those of one text, for all together.
   */
  encodeParts(parts: readonly (string | number)[]): Promise<Int32Array>;
  /** The text of some tokens; special tokens as they are spelled, bytes that are not UTF-8 as U+FFFD. */
  decode(ids: Iterable<number>): string;
  /** A token's exact bytes, not to be written to; empty if no token has this id. OUT_OF_RANGE if it is no id at all. */
  tokenBytes(id: number): Uint8Array;
  /** The id of the one token that is exactly this text. */
  idOf(token: string): number | undefined;
  isSpecial(id: number): boolean;
  createDecoder(): IncrementalDecoder;
}

export interface TokenizerLimits {
  /** UTF-16 units of one text. */
  readonly maxCharacters: number;
  /** Tokens of one text. */
  readonly maxTokens: number;
}

export const DEFAULT_TOKENIZER_LIMITS: TokenizerLimits = { maxCharacters: 2_097_152, maxTokens: 262_144 };
