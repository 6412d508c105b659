import { AppError } from "@moiety/core";
import { toByteLevel } from "../tokenizer/byte-level.js";
import { ENGLISH_MERGES } from "../tokenizer/english-merges.js";

/** The special tokens of the harmony format, which take the last ids of the vocabulary in this order. */
export const HARMONY_SPECIAL_TOKENS = [
  "<|startoftext|>",
  "<|endoftext|>",
  "<|return|>",
  "<|constrain|>",
  "<|channel|>",
  "<|start|>",
  "<|end|>",
  "<|message|>",
  "<|call|>",
] as const;

export type HarmonySpecialToken = (typeof HARMONY_SPECIAL_TOKENS)[number];

const BYTES = 256;
/** What fits every byte and every special token. */
export const MIN_BYTES_VOCABULARY = BYTES + HARMONY_SPECIAL_TOKENS.length;

export function harmonyTokenId(token: HarmonySpecialToken, vocabSize: number): number {
  return vocabSize - HARMONY_SPECIAL_TOKENS.length + HARMONY_SPECIAL_TOKENS.indexOf(token);
}

/** The pre-tokeniser of GPT-4o's vocabulary, which gpt-oss has too. */
const SPLIT_PATTERN = [
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
  "\\p{N}{1,3}",
  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*",
  "\\s*[\\r\\n]+",
  "\\s+(?!\\S)",
  "\\s+",
].join("|");

/**
 * A tokenizer.json of byte-level BPE with exactly `vocabSize` tokens: the 256 bytes, some frequent English, combinations of letters
 * for as long as ids are left, and harmony's special tokens last. INVALID_ARGUMENT if the vocabulary is too small for bytes and
 * special tokens.
 */
export function makeBytesTokenizer(vocabSize: number): unknown {
  if (vocabSize < MIN_BYTES_VOCABULARY) {
    const message = `vocab: expected at least ${MIN_BYTES_VOCABULARY}, for a tokenizer of all bytes, found ${vocabSize}`;
    throw new AppError("INVALID_ARGUMENT", message, { details: { field: "vocab", vocabSize } });
  }
  const ordinary = vocabSize - HARMONY_SPECIAL_TOKENS.length;
  const vocab = new Map<string, number>();
  for (let byte = 0; byte < BYTES; byte++) vocab.set(toByteLevel(Uint8Array.of(byte)), byte);
  const merges: (readonly [string, string])[] = [];
  for (const [left, right] of mergeSource()) {
    if (vocab.size === ordinary) break;
    if (vocab.has(left + right)) continue;
    vocab.set(left + right, vocab.size);
    merges.push([left, right]);
  }
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: HARMONY_SPECIAL_TOKENS.map((content) => ({
      id: harmonyTokenId(content, vocabSize),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: SPLIT_PATTERN }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  };
}

const LETTERS = [..."etaoinshrdlucmfwypvbgkjqxz"];

/** English, then every combination of 2, 3, ... letters, each as the merge of all but its last letter with that letter. */
function* mergeSource(): Generator<readonly [string, string]> {
  yield* ENGLISH_MERGES;
  let stems: readonly string[] = LETTERS;
  while (true) {
    for (const stem of stems) for (const letter of LETTERS) yield [stem, letter];
    stems = stems.flatMap((stem) => LETTERS.map((letter) => stem + letter));
  }
}
