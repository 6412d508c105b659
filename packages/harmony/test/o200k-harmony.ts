import { Tiktoken } from "js-tiktoken/lite";
import o200kBase from "js-tiktoken/ranks/o200k_base";
import { GPT_OSS_SPECIAL_TOKEN_IDS, type SegmentTokenizer, type TokenBytes } from "../src/index.js";

/** Further special tokens of the vocabulary, which harmony does not use. */
const OTHER_SPECIAL_TOKENS = { "<|startoftext|>": 199998, "<|endoftext|>": 199999, "<|endofprompt|>": 200018 };

const FIRST_SPECIAL = 199998;

/** The vocabulary of gpt-oss, made of the ranks that a package carries: nothing is downloaded. */
export function openO200kHarmony(): SegmentTokenizer & TokenBytes {
  const tiktoken = new Tiktoken(o200kBase);
  const bytes = tokenBytesById();
  const names = new Map(
    Object.entries({ ...GPT_OSS_SPECIAL_TOKEN_IDS, ...OTHER_SPECIAL_TOKENS }).map(([name, id]) => [id, name]),
  );
  const seen = new Map<string, readonly number[]>();
  return {
    encodeText(text) {
      const known = seen.get(text) ?? tiktoken.encode(text, [], []);
      seen.set(text, known);
      return known;
    },
    specialTokenId: (token) => GPT_OSS_SPECIAL_TOKEN_IDS[token],
    specialTokenName: (token) => names.get(token) ?? (token < FIRST_SPECIAL ? undefined : `<|reserved_${token}|>`),
    tokenBytes: (token) => bytes[token] ?? new Uint8Array(),
  };
}

/** Lines of `! <first id> <token in base64>…`. */
export function tokenBytesById(): readonly Uint8Array[] {
  const bytes: Uint8Array[] = [];
  for (const line of o200kBase.bpe_ranks.split("\n")) {
    const [, first = "", ...tokens] = line.split(" ");
    for (const [index, token] of tokens.entries()) bytes[Number(first) + index] = Buffer.from(token, "base64");
  }
  return bytes;
}
