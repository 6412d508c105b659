import { Ajv2020 } from "ajv/dist/2020.js";
import addFormatsModule from "ajv-formats";
import { describe, expect, it } from "vitest";
import { ENFORCED, HOSTILE, REFUSED, SCHEMAS } from "../test/schemas.js";
import { begin, fate, openTinyEngine, tokenizer, walk } from "../test/tiny-vocabulary.js";
import { contentGrammar, isGrammarAddonBuilt, type JsonSchema } from "./index.js";

// The package is CommonJS, and its types speak of the namespace.
const addFormats = addFormatsModule as unknown as (ajv: Ajv2020) => void;

const WALKS = 2;
const grammarOf = (schema: JsonSchema) => contentGrammar({ kind: "json", schema });

/** The grammar of JSON ends nowhere, so that an end token has to show where it may: a word that no JSON holds. */
const ending = (schema: JsonSchema) => {
  const [part] = (JSON.parse(grammarOf(schema)) as { grammars: object[] }).grammars;
  return JSON.stringify({ grammars: [{ lark_grammar: "start: @answer <|return|>" }, { ...part, name: "answer" }] });
};

describe.skipIf(!isGrammarAddonBuilt())("a schema", () => {
  const engine = openTinyEngine();

  it("is one of 200", () => {
    expect(SCHEMAS.length).toBeGreaterThanOrEqual(200);
    expect(new Set(SCHEMAS.map(([name]) => name)).size).toBe(SCHEMAS.length);
  });

  it("admits valid instances only, whatever is drawn", async () => {
    const ajv = new Ajv2020({ strict: false });
    addFormats(ajv);
    let whole = 0;
    for (const [name, schema] of SCHEMAS) {
      const isValid = ajv.compile(schema);
      for (let seed = 1; seed <= WALKS; seed++) {
        const state = await engine.compile(ending(schema)).catch((error) => expect.fail(`${name}: ${error.message}`));
        const { tokens, complete } = await walk(state, { seed: seed * 7_919, maxTokens: 250 });
        if (!complete) continue;
        const text = tokenizer.decode(tokens.slice(0, -1));
        // Numbers that a double does not hold are valid, but ajv cannot know.
        if (/\d{16}|[eE][+-]?\d{2}/.test(text)) continue;
        whole += 1;
        expect({ name, text, valid: isValid(JSON.parse(text)) }).toEqual({ name, text, valid: true });
      }
    }
    expect(whole).toBeGreaterThan(SCHEMAS.length);
  }, 120_000);

  it.each(ENFORCED)("with %s is enforced", async (_name, schema, valid, invalid) => {
    const text = (value: unknown) => (typeof value === "string" && value.startsWith("{") ? value : JSON.stringify(value));
    expect(await fate(engine, ending(schema), `${text(valid)}<|return|>`)).toBe("complete");
    expect(await fate(engine, ending(schema), `${text(invalid)}<|return|>`)).toMatch(/^refused/);
  });

  it.each(REFUSED)("with %s is refused, in one line that says why", async (_name, schema) => {
    const refusal = (async () => begin(await engine.compile(grammarOf(schema))))();
    await expect(refusal).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^[^\n]{4,420}$/) });
  });

  it.each(HOSTILE)("of %s is refused or harmless, and the event loop stays free", async (_name, schema) => {
    const own = openTinyEngine();
    const text = grammarOf(schema);
    let longestMs = 0;
    let lastMs = performance.now();
    const timer = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - lastMs);
      lastMs = performance.now();
    }, 1);
    const outcome = await own
      .compile(text)
      .then(begin)
      .then(
        ({ kind }) => kind,
        (error) => error.code,
      );
    clearInterval(timer);
    expect(["mask", "INVALID_ARGUMENT"]).toContain(outcome);
    // Not a speed: whatever compiles on this thread would hold it for as long as compiling takes.
    expect(longestMs).toBeLessThan(5_000);
  });

  it("never has unbounded whitespace", async () => {
    expect(await fate(engine, ending({ type: "object" }), `{${" ".repeat(17)}}<|return|>`)).toMatch(/^refused/);
    expect(await fate(engine, ending({ type: "object" }), `{${"\n ".repeat(5)}}<|return|>`)).toBe("complete");
  });
});
