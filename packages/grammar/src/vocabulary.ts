import { invariant } from "@moiety/core";

/** What the engine needs of a tokenizer. */
export interface TokenBytes {
  /** The bytes of a token; empty for an id that has none. */
  tokenBytes(id: number): Uint8Array;
  /** Ids of the special tokens by their text, such as `<|start|>`. */
  readonly specialTokens: ReadonlyMap<string, number>;
}

export interface PackedVocabulary {
  /** All tokens one behind the other. */
  readonly bytes: Buffer;
  /** Token i is `bytes[ends[i - 1] .. ends[i]]`. */
  readonly ends: Uint32Array;
}

/** No UTF-8 has this byte: what begins with it is matched by name only, never by text. */
const SPECIAL_MARK = 0xff;

/** The first `vocabSize` tokens as the addon takes them. Ids without a token are empty, and never allowed. */
export function packVocabulary(tokens: TokenBytes, vocabSize: number): PackedVocabulary {
  const special = new Set(tokens.specialTokens.values());
  const ends = new Uint32Array(vocabSize);
  let total = 0;
  for (let id = 0; id < vocabSize; id++) {
    total += tokens.tokenBytes(id).length + (special.has(id) ? 1 : 0);
    ends[id] = total;
  }
  const bytes = Buffer.alloc(total);
  for (let id = 0; id < vocabSize; id++) {
    const word = tokens.tokenBytes(id);
    const end = ends[id] ?? 0;
    bytes.set(word, end - word.length);
    if (special.has(id)) bytes[end - word.length - 1] = SPECIAL_MARK;
  }
  invariant(ends.at(-1) === total || vocabSize === 0, "the last token ends where the bytes do");
  return { bytes, ends };
}
