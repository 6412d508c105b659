import { readFile } from "node:fs/promises";
import { deferred } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SCHEMAS } from "../test/schemas.js";
import { begin, ids, isAllowed, openTinyEngine, tokenizer, VOCABULARY, walk } from "../test/tiny-vocabulary.js";
import {
  completionGrammar,
  contentGrammar,
  DECODING_LIMITS,
  GRAMMAR_ENGINE,
  isGrammarAddonBuilt,
  MAX_GRAMMAR_LENGTH,
  turnGrammar,
} from "./index.js";
import { refusalOf } from "./refusal.js";
import { packVocabulary } from "./vocabulary.js";
import { WorkQueue } from "./work-queue.js";

describe("the engine's name", () => {
  it("is the version that is pinned and locked", async () => {
    const [name, version] = GRAMMAR_ENGINE.split("/");
    const read = (file: string) => readFile(new URL(`../native/${file}`, import.meta.url), "utf8");
    expect(await read("Cargo.toml")).toContain(`${name} = { version = "=${version}"`);
    expect(await read("Cargo.lock")).toContain(`name = "${name}"\nversion = "${version}"`);
  });
});

describe("a packed vocabulary", () => {
  it("marks special tokens, and leaves padding empty", () => {
    const tokens = [Buffer.from("ab"), Buffer.from("<|x|>"), Buffer.alloc(0)];
    const packed = packVocabulary(
      { tokenBytes: (id) => tokens[id] ?? Buffer.alloc(0), specialTokens: new Map([["<|x|>", 1]]) },
      4,
    );
    expect(packed.bytes.toString("latin1")).toBe("ab\u00ff<|x|>");
    expect([...packed.ends]).toEqual([2, 8, 8, 8]);
  });
});

describe("a refusal", () => {
  it.each([
    ["at 1(8): unknown name\n   1 | start: foo\n", "at 1(8): unknown name 1 | start: foo"],
    ["NoExtensionBias\n<non-verbose/>", "there is no text that fits it"],
    ["panic: x\n<backtrace>\nfile.rs\n</backtrace>", "panic: x"],
    ["", "it cannot be followed"],
  ])("%j is %j to a client", (text, message) => {
    expect(refusalOf(new Error(text))).toMatchObject({ code: "INVALID_ARGUMENT", message });
  });

  it("is short", () => {
    expect(refusalOf("x".repeat(10_000)).message.length).toBeLessThan(500);
  });
});

describe("WorkQueue", () => {
  it("runs so many at a time, the others in order, and refuses what it has no room for", async () => {
    const queue = new WorkQueue({ running: 2, waiting: 2 });
    const gates = [0, 1, 2, 3].map(() => deferred<void>());
    const begun: number[] = [];
    const runs = gates.map((gate, index) =>
      queue.run(async () => {
        begun.push(index);
        await gate.promise;
        if (index === 1) throw new Error("failed");
        return index;
      }),
    );
    runs[1]?.catch(() => undefined);
    await expect(queue.run(async () => 0)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", retryable: true });
    expect(begun).toEqual([0, 1]);
    gates[1]?.resolve();
    await expect(runs[1]).rejects.toThrow("failed");
    for (const gate of gates) gate.resolve();
    expect(await Promise.all([runs[0], runs[2], runs[3]])).toEqual([0, 2, 3]);
    expect(begun).toEqual([0, 1, 2, 3]);
  });
});

describe.skipIf(!isGrammarAddonBuilt())("a state of the engine", () => {
  const engine = openTinyEngine();
  const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"], additionalProperties: false };

  it("goes on from wherever a generation was cut with the same masks, byte for byte", async () => {
    const other = openTinyEngine(DECODING_LIMITS);
    const turn = turnGrammar({
      answer: { kind: "json", schema: SCHEMAS.find(([name]) => name === "real 1")?.[1] ?? {} },
      calls: [{ name: "f", parameters: schema }],
      severalCalls: false,
      preambles: false,
    });
    await fc.assert(
      fc.asyncProperty(fc.nat(1_000), fc.double({ min: 0, max: 1, noNaN: true }), async (seed, share) => {
        const { tokens, masks } = await walk(await engine.compile(turn), { seed, maxTokens: 120 });
        const cut = Math.floor(share * tokens.length);
        const resumed = await other.compile(turn);
        const rest = [await resumed.advance(Int32Array.from(tokens.slice(0, cut)))];
        for (const token of tokens.slice(cut)) rest.push(await resumed.advance(Int32Array.of(token)));
        expect(rest).toEqual(masks.slice(cut));
      }),
      { numRuns: 15 },
    );
  });

  it("keeps its calls in order, and apart from those of other states", async () => {
    const grammar = contentGrammar({ kind: "json", schema });
    const [first, second] = [await engine.compile(grammar), await engine.compile(grammar)];
    const tokens = await ids('{"n":17}');
    const at = tokens.map((token) => first.advance(Int32Array.of(token)));
    expect((await Promise.all(at)).at(-1)).toEqual({ kind: "complete" });
    expect(isAllowed(await begin(second), tokens[0] ?? 0)).toBe(true);
  });

  it("refuses a token that was not allowed, and is of no more use then", async () => {
    const state = await engine.compile(contentGrammar({ kind: "json", schema }));
    await expect(state.advance(Int32Array.from(await ids("[")))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(begin(state)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("has masks of one bit for each token", async () => {
    const step = await begin(await engine.compile(contentGrammar({ kind: "text" })));
    expect(step.kind === "mask" && step.allowed.length).toBeGreaterThanOrEqual(VOCABULARY / 32);
  });

  it("ends a completion with any of its ends, and not before", async () => {
    const grammar = completionGrammar({ kind: "regex", regex: "^[0-9]{2}$" }, [2_040, 2_041]);
    const ends = [2_040, 2_041];
    for (const end of ends) {
      const state = await engine.compile(grammar);
      const begun = await begin(state);
      expect(ends.some((token) => isAllowed(begun, token))).toBe(false);
      const full = await state.advance(Int32Array.from([...(await tokenizer.encode("42", { allowSpecial: false }))]));
      expect(full.kind === "mask" && ends.every((token) => isAllowed(full, token))).toBe(true);
      expect(await state.advance(Int32Array.of(end))).toEqual({ kind: "complete" });
    }
    expect(() => completionGrammar({ kind: "text" }, [])).toThrow("no token that ends");
  });

  it("is refused for grammars that are too long, name special tokens, or never end", async () => {
    await expect(engine.compile(" ".repeat(MAX_GRAMMAR_LENGTH + 1))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(() => contentGrammar({ kind: "grammar", text: 'start: "a" <|end|>' })).toThrow("special tokens");
    const cyclic = engine.compile(contentGrammar({ kind: "grammar", text: "start: a\na: b\nb: a" })).then(begin);
    await expect(cyclic).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: "there is no text that fits it" });
  });
});
