import o200kBase from "js-tiktoken/ranks/o200k_base";
import { GPT_OSS_SPECIAL_TOKEN_IDS } from "../src/index.js";
import { tokenBytesById } from "./o200k-harmony.js";

/** The alphabet of byte-level BPE: printable Latin-1 bytes stand for themselves, the others for U+0100 onwards. */
const ALPHABET = makeAlphabet();

function makeAlphabet(): readonly string[] {
  let next = 0x100;
  const isPrintable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

/** A checkpoint's tokenizer.json with the vocabulary of gpt-oss, as the conversion of tiktoken ranks by transformers makes it. */
export function makeTokenizerJson() {
  const tokens = tokenBytesById().map((bytes) => Array.from(bytes, (byte) => ALPHABET[byte]).join(""));
  const rank = new Map(tokens.map((token, id) => [token, id]));
  const added = Object.entries(GPT_OSS_SPECIAL_TOKEN_IDS).map(([content, id]) => ({
    ...{ id, content, special: true },
    ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
  }));
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: o200kBase.pat_str }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      ignore_merges: false,
      vocab: Object.fromEntries(rank),
      merges: tokens.flatMap((token) => mergesOf(token, rank)),
    },
  };
}

/** Every pair of tokens that makes this one, by the ranks of the pair. */
function mergesOf(token: string, rank: ReadonlyMap<string, number>): [string, string][] {
  const pairs: { readonly left: number; readonly right: number; readonly at: number }[] = [];
  for (let at = 1; at < token.length; at++) {
    const left = rank.get(token.slice(0, at));
    const right = left === undefined ? undefined : rank.get(token.slice(at));
    if (left !== undefined && right !== undefined) pairs.push({ left, right, at });
  }
  pairs.sort((one, other) => one.left - other.left || one.right - other.right);
  return pairs.map(({ at }) => [token.slice(0, at), token.slice(at)]);
}
