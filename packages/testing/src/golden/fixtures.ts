import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type GoldenTensor, readGoldenTensors } from "./safetensors.js";

export type GoldenCheckpoint = "A" | "A-sharded" | "A-bf16" | "B";

/** A prompt and its greedy continuation by the reference in float32. */
export interface GoldenCase {
  /** `A_007`: checkpoint and length. */
  readonly name: string;
  readonly checkpoint: "A" | "B";
  readonly length: number;
  readonly tokens: readonly number[];
  /** 32 tokens. */
  readonly greedy: readonly number[];
}

const ROOT = fileURLToPath(new URL("../../fixtures/golden/", import.meta.url));

/** Folder of a tiny checkpoint in the released format. It has no tokenizer. */
export function goldenCheckpointDir(checkpoint: GoldenCheckpoint): string {
  return `${ROOT}ckpt/${checkpoint}`;
}

export function goldenCases(): readonly GoldenCase[] {
  return JSON.parse(readFileSync(`${ROOT}cases.json`, "utf8")) as readonly GoldenCase[];
}

export function goldenCase(name: string): GoldenCase {
  const found = goldenCases().find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`there is no golden case ${name}`);
  return found;
}

/** Names of the files of golden results: `A_007` and so on. */
export function goldenNames(): readonly string[] {
  return readdirSync(`${ROOT}golden`)
    .filter((file) => file.endsWith(".safetensors"))
    .map((file) => file.slice(0, -".safetensors".length))
    .sort();
}

/** What the reference computed for one case; the keys are described in fixtures/golden/README.md. */
export function readGolden(name: string): ReadonlyMap<string, GoldenTensor> {
  return readGoldenTensors(`${ROOT}golden/${name}.safetensors`);
}

/** Inputs and outputs of the reference's small functions. */
export function readGoldenUnits(): ReadonlyMap<string, GoldenTensor> {
  return readGoldenTensors(`${ROOT}unit/unit.safetensors`);
}
