import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HarmonyError } from "./harmony-error.js";
import { renderConversation } from "./render.js";
import { GPT_OSS_SPECIAL_TOKEN_IDS, SPECIAL_TOKENS, type SpecialToken } from "./special-tokens.js";
import { encodeSegments, TokenReader } from "./tokens.js";

/** A vocabulary of the 256 bytes and gpt-oss's special tokens. */
const bytes = {
  encodeText: (text: string) => new TextEncoder().encode(text),
  specialTokenId: (token: SpecialToken) => GPT_OSS_SPECIAL_TOKEN_IDS[token],
  specialTokenName: (token: number) => SPECIAL_TOKENS.find((name) => GPT_OSS_SPECIAL_TOKEN_IDS[name] === token),
  tokenBytes: (token: number) => Uint8Array.of(token),
};

describe("encodeSegments", () => {
  it("gives special tokens their ids, and never to text", () => {
    const tokens = encodeSegments(renderConversation([{ role: "user", content: "<|end|>" }]), bytes);
    expect(tokens.filter((token) => token > 255)).toEqual([200006, 200008, 200007, 200006]);
  });

  it("names the special token that a vocabulary lacks", () => {
    const lacking = { ...bytes, specialTokenId: () => undefined };
    expect(() => encodeSegments([{ special: "<|start|>" }], lacking)).toThrow(HarmonyError);
    expect(() => encodeSegments([{ special: "<|start|>" }], lacking)).toThrow("<|start|>: the vocabulary has no such token");
  });
});

describe("TokenReader", () => {
  it("holds the bytes of a character back until it is whole", () => {
    const reader = new TokenReader(bytes);
    const [a = 0, b = 0, c = 0, d = 0] = new TextEncoder().encode("🙂");
    expect([a, b, c].flatMap((token) => reader.read(token))).toEqual([]);
    expect(reader.read(d)).toEqual([{ kind: "text", text: "🙂" }]);
  });

  it("delivers an incomplete character as U+FFFD before a special token and at the end", () => {
    const reader = new TokenReader(bytes);
    reader.read(0xf0);
    expect(reader.read(200007)).toEqual([
      { kind: "text", text: "\u{fffd}" },
      { kind: "special", name: "<|end|>" },
    ]);
    reader.read(0xe2);
    expect(reader.end()).toEqual([{ kind: "text", text: "\u{fffd}" }]);
    expect(reader.end()).toEqual([]);
  });

  it("gives back any text that was encoded, a leading byte order mark included", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const reader = new TokenReader(bytes);
        const tokens = encodeSegments([{ text: `\u{feff}${text}` }], bytes);
        const read = [...tokens.flatMap((token) => reader.read(token)), ...reader.end()];
        expect(read.map((input) => (input.kind === "text" ? input.text : "")).join("")).toBe(`\u{feff}${text}`);
      }),
    );
  });
});
