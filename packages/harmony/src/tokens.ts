import { HarmonyError } from "./harmony-error.js";
import type { Segment } from "./render.js";
import type { SpecialToken } from "./special-tokens.js";
import type { ParserInput } from "./transition.js";

/** What encoding needs of a tokenizer. */
export interface SegmentTokenizer {
  /** Token ids of plain text; text that looks like a special token is text. */
  encodeText(text: string): Iterable<number>;
  /** The id of a special token; undefined when the vocabulary lacks it. */
  specialTokenId(token: SpecialToken): number | undefined;
}

/**
 * Token ids of a rendered prompt. Each segment is tokenised by itself, as the model was trained.
 * @throws HarmonyError when the vocabulary lacks a special token.
 */
export function encodeSegments(segments: readonly Segment[], tokenizer: SegmentTokenizer): number[] {
  const tokens: number[] = [];
  for (const segment of segments) {
    if ("text" in segment) {
      for (const token of tokenizer.encodeText(segment.text)) tokens.push(token);
      continue;
    }
    const token = tokenizer.specialTokenId(segment.special);
    if (token === undefined) throw new HarmonyError(segment.special, "the vocabulary has no such token");
    tokens.push(token);
  }
  return tokens;
}

/** What decoding needs of a tokenizer. */
export interface TokenBytes {
  /** The name of a special token, such as `<|end|>`, harmony's or not; undefined for a token of text. */
  specialTokenName(token: number): string | undefined;
  /** The UTF-8 bytes of a token of text, which may end within a character. */
  tokenBytes(token: number): Uint8Array;
}

/** Turns token ids into what the parser reads, one at a time. Characters that span tokens come whole with their last byte. */
export class TokenReader {
  private readonly tokenizer: TokenBytes;
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokenizer: TokenBytes) {
    this.tokenizer = tokenizer;
  }

  /** What a token adds: nothing, text, or text that was still incomplete (as U+FFFD) and a special token. */
  read(token: number): ParserInput[] {
    const name = this.tokenizer.specialTokenName(token);
    if (name !== undefined) return [...this.end(), { kind: "special", name }];
    return textInput(this.decoder.decode(this.tokenizer.tokenBytes(token), { stream: true }));
  }

  /** What is left when no token follows: bytes of an incomplete character, as U+FFFD. */
  end(): ParserInput[] {
    return textInput(this.decoder.decode());
  }
}

function textInput(text: string): ParserInput[] {
  return text === "" ? [] : [{ kind: "text", text }];
}
