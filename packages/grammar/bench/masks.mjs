#!/usr/bin/env node
// What masks cost with a vocabulary: node packages/grammar/bench/masks.mjs path/to/tokenizer.json [tokens of the model]
import { fileURLToPath } from "node:url";
import { openTokenizer } from "@moiety/model";
import { runnerImport } from "vite";
import { CHECKING_LIMITS, contentGrammar, openGrammarEngine } from "../dist/index.js";

const MAX_TOKENS = 64;

const [file, size] = process.argv.slice(2);
if (file === undefined) {
  console.error("Usage: node packages/grammar/bench/masks.mjs <tokenizer.json> [vocabulary]");
  process.exit(2);
}

const line = {
  type: "object",
  properties: { sku: { type: "string" }, quantity: { type: "integer" }, price: { type: "number" } },
  required: ["sku"],
};
/** Schemas, each with an instance that is written under it. */
const CASES = [
  [
    { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"] },
    { name: "Ada Lovelace", age: 36 },
  ],
  [
    { type: "object", properties: { lines: { type: "array", items: line } }, required: ["lines"] },
    { lines: [{ sku: "x-1", quantity: 2, price: 9.95 }] },
  ],
  [{ type: "object" }, { any: ["thing", 1, null, { x: true }] }],
  [{ enum: Array.from({ length: 500 }, (_, index) => `code-${index.toString(36)}`) }, "code-77"],
  [
    {
      type: "object",
      properties: { id: { type: "string", format: "uuid" }, at: { type: "string", format: "date-time" } },
      required: ["id", "at"],
    },
    { id: "123e4567-e89b-12d3-a456-426614174000", at: "2024-01-02T03:04:05Z" },
  ],
  [{ type: "string", maxLength: 4_096 }, "The quick brown fox jumps over the lazy dog, and then some."],
];

const tokens = await openTokenizer(file);
const openedMs = performance.now();
const engine = openGrammarEngine({ tokens, vocabSize: Number(size ?? tokens.vocabSize), limits: CHECKING_LIMITS });
console.log(`${engine.name}, ${size ?? tokens.vocabSize} tokens: opened in ${(performance.now() - openedMs).toFixed(0)} ms`);
console.log("Masks: from the event loop to a thread and back, one after the other.");
const written = [];
for (const [schema, value] of CASES) {
  const { compileMs, advance, us } = await begin(schema);
  await advance([]);
  for (const token of await tokens.encode(JSON.stringify(value), { allowSpecial: false })) await advance([token]);
  written.push(...us);
  console.log(
    `compile ${compileMs.toFixed(1)} ms, ${summary(us)}, first ${us[0].toFixed(0)} us: ${JSON.stringify(schema).slice(0, 80)}`,
  );
}
console.log(`all of these: ${summary(written)}`);
await drawnUnderSchemas();

/** The schemas of the tests, and whatever is drawn under their masks. */
async function drawnUnderSchemas() {
  const { SCHEMAS } = (await runnerImport(fileURLToPath(new URL("../test/schemas.ts", import.meta.url)))).module;
  const compiles = [];
  const firsts = [];
  const later = [];
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  for (const [, schema] of SCHEMAS) {
    const { compileMs, advance, us } = await begin(schema);
    let step = await advance([]);
    for (let count = 0; count < MAX_TOKENS && step.kind === "mask"; count++) {
      const token = drawn(step.allowed, random);
      if (token === undefined) break;
      step = await advance([token]);
    }
    compiles.push(compileMs * 1_000);
    firsts.push(us[0]);
    later.push(...us.slice(1));
  }
  console.log(`${SCHEMAS.length} schemas, at most ${MAX_TOKENS} tokens of each drawn at random:`);
  console.log(`  compiling: ${summary(compiles)}`);
  console.log(`  first masks: ${summary(firsts)}`);
  console.log(`  later masks: ${summary(later)}`);
}

async function begin(schema) {
  const begunMs = performance.now();
  const state = await engine.compile(contentGrammar({ kind: "json", schema }));
  const compileMs = performance.now() - begunMs;
  const us = [];
  const advance = async (ids) => {
    const beforeMs = performance.now();
    const step = await state.advance(Int32Array.from(ids));
    us.push((performance.now() - beforeMs) * 1_000);
    return step;
  };
  return { compileMs, advance, us };
}

/** One of the allowed tokens; undefined where the text may only end. */
function drawn(allowed, random) {
  const ids = [];
  for (const [word, bits] of allowed.entries()) {
    for (let bit = 0; bits >>> bit !== 0 && bit < 32; bit++) if ((bits >>> bit) & 1) ids.push(word * 32 + bit);
  }
  return ids[Math.floor(random() * ids.length)];
}

function summary(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(0);
  return `${sorted.length}, median ${at(0.5)} us, p90 ${at(0.9)} us, p99 ${at(0.99)} us, most ${at(1)} us`;
}
