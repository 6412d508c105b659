import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeBytesTokenizer } from "../make-checkpoint/bytes-tokenizer.js";
import { fromByteLevel, toByteLevel } from "./byte-level.js";
import { createTokenizer } from "./open-tokenizer.js";

const VOCABULARY = 2048;
const json = makeBytesTokenizer(VOCABULARY);
const tokenizer = createTokenizer(json);
const USER = { allowSpecial: false };
const SERVER = { allowSpecial: true };

/** Ids of single bytes, which the tokenizer numbers by their value. */
function tokensOf(bytes: Uint8Array): Int32Array {
  return Int32Array.from(bytes);
}

function bytesOf(ids: Iterable<number>): Buffer {
  return Buffer.concat([...ids].map((id) => tokenizer.tokenBytes(id)));
}

describe("encode", () => {
  it("gives tokens whose bytes are the text's, for any text", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 200 }), async (text) => {
        const ids = await tokenizer.encode(text, USER);
        expect(bytesOf(ids)).toEqual(Buffer.from(text));
        expect(tokenizer.decode(ids)).toBe(text);
      }),
      { numRuns: 300 },
    );
  });

  it("gives of parts what it gives of each, and the tokens between them as they are", async () => {
    const parts = ["user", 300, "", "the world <|end|>", 301, 302, "and the people"];
    const each = parts.map(async (part) => (typeof part === "string" ? [...(await tokenizer.encode(part, USER))] : [part]));
    expect([...(await tokenizer.encodeParts(parts))]).toEqual((await Promise.all(each)).flat());
    expect([...(await tokenizer.encodeParts([]))]).toEqual([]);
    await expect(tokenizer.encodeParts(["x".repeat(2_000_000), "x".repeat(200_000)])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it("merges frequent English", async () => {
    const ids = await tokenizer.encode("the world and the people", USER);
    expect(ids.length).toBeLessThanOrEqual(10);
  });

  it("never makes a special token of user text", async () => {
    const specials = [...tokenizer.specialTokens.keys()];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.constantFrom(...specials), fc.string(), fc.constantFrom("<|", "|>", "<"))),
        async (parts) => {
          const text = parts.join("");
          const ids = await tokenizer.encode(text, USER);
          expect([...ids].some((id) => tokenizer.isSpecial(id))).toBe(false);
          expect(tokenizer.decode(ids)).toBe(text);
        },
      ),
    );
  });

  it("makes special tokens of the server's text, in place", async () => {
    const text = "<|start|>user<|message|>a<|end|><|end|>";
    const ids = await tokenizer.encode(text, SERVER);
    const special = [...ids].filter((id) => tokenizer.isSpecial(id));
    const id = (token: string) => tokenizer.specialTokens.get(token);
    expect(special).toEqual([id("<|start|>"), id("<|message|>"), id("<|end|>"), id("<|end|>")]);
    expect(ids[0]).toBe(id("<|start|>"));
    expect(tokenizer.decode(ids)).toBe(text);
  });

  it("replaces lone surrogates by U+FFFD", async () => {
    expect(tokenizer.decode(await tokenizer.encode("a\ud800b", USER))).toBe("a\ufffdb");
  });

  it("gives no tokens for no text", async () => {
    expect(await tokenizer.encode("", SERVER)).toEqual(new Int32Array(0));
  });

  it("refuses a text that is too long, in characters or in tokens", async () => {
    const small = createTokenizer(json, { limits: { maxCharacters: 10, maxTokens: 4 } });
    await expect(small.encode("x".repeat(11), USER)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/11 characters/),
    });
    await expect(small.encode("\0".repeat(5), USER)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/5 tokens/),
    });
    expect(await small.encode("\0".repeat(4), USER)).toHaveLength(4);
  });

  it("leaves the event loop free while it encodes a long text", async () => {
    let ticks = 0;
    const timer = setInterval(() => (ticks += 1), 1);
    await tokenizer.encode("The quick brown fox. ".repeat(20_000), USER);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(5);
  });
});

describe("ids", () => {
  it("finds tokens by their text and bytes by their id", () => {
    expect(tokenizer.vocabSize).toBe(VOCABULARY);
    expect(tokenizer.idOf("<|call|>")).toBe(VOCABULARY - 1);
    expect(tokenizer.idOf("a")).toBe(97);
    expect(tokenizer.idOf("no such token")).toBeUndefined();
    const the = tokenizer.idOf(" the");
    expect(the).toBeGreaterThan(255);
    expect(Buffer.from(tokenizer.tokenBytes(the ?? -1)).toString()).toBe(" the");
  });

  it("has no bytes for an id without a token, and refuses what is no id", () => {
    expect(tokenizer.tokenBytes(VOCABULARY)).toHaveLength(0);
    expect(tokenizer.tokenBytes(1e6)).toHaveLength(0);
    expect(() => tokenizer.tokenBytes(-1)).toThrow(expect.objectContaining({ code: "OUT_OF_RANGE" }));
    expect(() => tokenizer.tokenBytes(0.5)).toThrow(expect.objectContaining({ code: "OUT_OF_RANGE" }));
  });

  it("gives every id of the vocabulary its own bytes", () => {
    const seen = new Set(Array.from({ length: VOCABULARY }, (_, id) => Buffer.from(tokenizer.tokenBytes(id)).toString("hex")));
    expect(seen.size).toBe(VOCABULARY);
    expect(seen.has("")).toBe(false);
  });
});

describe("createDecoder", () => {
  it("says in pieces what decode says at once, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const decoder = tokenizer.createDecoder();
        const pieces = [...tokensOf(bytes)].map((id) => decoder.push(id));
        expect(pieces.join("") + decoder.flush()).toBe(Buffer.from(bytes).toString("utf8"));
      }),
      { numRuns: 1000 },
    );
  });

  it("never emits half a character of a valid text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        const decoder = tokenizer.createDecoder();
        let soFar = "";
        for (const id of tokensOf(Buffer.from(text))) {
          soFar += decoder.push(id);
          expect(text.startsWith(soFar)).toBe(true);
          expect(soFar.isWellFormed()).toBe(true);
        }
        expect(decoder.flush()).toBe("");
        expect(soFar).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it("gives a replacement character for a character that never ends, and starts anew", () => {
    const decoder = tokenizer.createDecoder();
    expect(decoder.push(0xf0)).toBe("");
    expect(decoder.push(0x9f)).toBe("");
    expect(decoder.flush()).toBe("\ufffd");
    expect(decoder.push(0x61)).toBe("a");
  });

  it("keeps a byte order mark", () => {
    expect(tokenizer.decode([0xef, 0xbb, 0xbf, 0x61])).toBe("\ufeffa");
  });
});

describe("byte-level text", () => {
  it("stands for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(fromByteLevel(toByteLevel(bytes))).toEqual(bytes);
      }),
    );
  });

  it("has no character outside its alphabet", () => {
    expect(fromByteLevel("a b")).toBeUndefined();
    expect(toByteLevel(Buffer.from(" the"))).toBe("Ġthe");
  });
});

describe("createTokenizer", () => {
  const valid = json as {
    readonly added_tokens: readonly object[];
    readonly model: { readonly vocab: Readonly<Record<string, unknown>> };
  };
  it.each([
    ["another model", { ...valid, model: { ...valid.model, type: "WordPiece" } }, /model\.type: expected "BPE"/],
    ["another decoder", { ...valid, decoder: { type: "Metaspace" } }, /decoder\.type: expected "ByteLevel"/],
    [
      "an id that is no number",
      { ...valid, model: { ...valid.model, vocab: { ...valid.model.vocab, ab: "7" } } },
      /vocab\.ab: expected a token id/,
    ],
    [
      "one id twice",
      { ...valid, model: { ...valid.model, vocab: { ...valid.model.vocab, zzzz: 97 } } },
      /id 97 is another token's/,
    ],
    ["an absurd id", { ...valid, model: { ...valid.model, vocab: { ...valid.model.vocab, zzzz: 1e9 } } }, /vocab\.zzzz/],
    [
      "a token that is not byte-level",
      { ...valid, model: { ...valid.model, vocab: { ...valid.model.vocab, "é ": 5000 } } },
      /byte-level/,
    ],
    ["an added token on another's id", { ...valid, added_tokens: [{ id: 97, content: "<|x|>", special: true }] }, /id 97/],
    ["an added token that strips", { ...valid, added_tokens: [{ id: 9000, content: "<|x|>", lstrip: true }] }, /lstrip/],
    ["merges of unknown tokens", { ...valid, model: { ...valid.model, merges: [["Q", "Q"]] } }, /tokenizer\.json/],
    ["no object", [], /expected/],
  ])("refuses %s", (_name, broken, message) => {
    expect(() => createTokenizer(broken)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) }),
    );
  });
});
