#!/usr/bin/env node
// What masks cost with a vocabulary: node packages/grammar/bench/masks.mjs path/to/tokenizer.json [tokens of the model]
import { openTokenizer } from "@moiety/model";
import { CHECKING_LIMITS, contentGrammar, openGrammarEngine } from "../dist/index.js";

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
const all = [];
for (const [schema, value] of CASES) {
  const begunMs = performance.now();
  const state = await engine.compile(contentGrammar({ kind: "json", schema }));
  const compileMs = performance.now() - begunMs;
  const us = [];
  const step = async (ids) => {
    const beforeMs = performance.now();
    await state.advance(Int32Array.from(ids));
    us.push((performance.now() - beforeMs) * 1000);
  };
  await step([]);
  for (const token of await tokens.encode(JSON.stringify(value), { allowSpecial: false })) await step([token]);
  all.push(...us);
  console.log(`compile ${compileMs.toFixed(1)} ms, ${summary(us)}: ${JSON.stringify(schema).slice(0, 80)}`);
}
console.log(`all: ${summary(all)}`);

function summary(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(0);
  return `${sorted.length} masks, median ${at(0.5)} us, p90 ${at(0.9)} us, p99 ${at(0.99)} us, first ${values[0].toFixed(0)} us`;
}
