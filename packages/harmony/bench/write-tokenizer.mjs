#!/usr/bin/env node
// Writes a tokenizer.json with gpt-oss's vocabulary, made of package data: node packages/harmony/bench/write-tokenizer.mjs path/to/folder
// It is what benchmarks of that size need, such as `moiety bench prompt --checkpoint path/to/folder`; nothing is downloaded.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error("Usage: node packages/harmony/bench/write-tokenizer.mjs <folder>");
  process.exit(2);
}
const source = fileURLToPath(new URL("../test/tokenizer-json.ts", import.meta.url));
const { makeTokenizerJson } = (await runnerImport(source)).module;
const file = join(folder, "tokenizer.json");
mkdirSync(folder, { recursive: true });
writeFileSync(file, JSON.stringify(makeTokenizerJson()));
console.log(file);
