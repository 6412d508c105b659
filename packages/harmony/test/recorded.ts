import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** What the scripts in `fixtures/` recorded, one JSON a line. */
export function readRecorded<Case>(name: string): Case[] {
  const text = gunzipSync(readFileSync(new URL(`../fixtures/${name}`, import.meta.url))).toString("utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** As `make_rendered.py` fingerprints token ids. */
export function sha256Of(tokens: readonly number[]): string {
  return createHash("sha256").update(tokens.join(",")).digest("hex");
}
