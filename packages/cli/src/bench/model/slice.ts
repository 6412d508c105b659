import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type CheckpointShape, type CheckpointShapeName, writeRandomCheckpoint } from "@moiety/model";
import { displayPath } from "../../display-path.js";
import type { BenchmarkOptions } from "../benchmark.js";

interface Slice {
  readonly like: CheckpointShapeName;
  readonly shape: Partial<CheckpointShape>;
}

/** What peers were measured with too: every matrix as in gpt-oss-20b, but few of them, and a smaller vocabulary. */
const SLICE: Slice = { like: "20b", shape: { layers: 4, vocabSize: 32_768 } };
const TINY: Slice = { like: "tiny", shape: {} };

type Made = Pick<BenchmarkOptions, "dataDir" | "tell">;

/** The checkpoint to measure: the one that was named, or one of random weights that is made on first use. */
export async function provideSlice({ checkpoint, quick, ...options }: BenchmarkOptions): Promise<string> {
  if (checkpoint !== undefined) return resolve(checkpoint);
  return quick ? await provideTiny(options) : await provide("20b-4-layers", SLICE, options);
}

/** A checkpoint of a few megabytes. */
export function provideTiny(options: Made): Promise<string> {
  return provide("tiny", TINY, options);
}

async function provide(name: string, { like, shape }: Slice, { dataDir, tell }: Made): Promise<string> {
  const out = join(dataDir, "bench", name);
  // config.json is written last: without it the folder is the rest of an interrupted attempt.
  if (existsSync(join(out, "config.json"))) return out;
  tell(`making a checkpoint of random weights in ${displayPath(out)}`);
  await rm(out, { recursive: true, force: true });
  await writeRandomCheckpoint({ out, like, shape, seed: 0 });
  return out;
}
