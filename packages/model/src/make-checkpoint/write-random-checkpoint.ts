import { mkdir, readdir, rm, statfs, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { AppError } from "@moiety/core";
import { countParameters, type ParameterCounts } from "../checkpoint/model-size.js";
import { type CheckpointLayout, planCheckpoint, plannedBytes } from "../checkpoint/tensor-plan.js";
import { fromFileError } from "../json/file-error.js";
import type { ModelConfig } from "../model-config.js";
import { makeBytesTokenizer } from "./bytes-tokenizer.js";
import { CHECKPOINT_SHAPES, type CheckpointShape, type CheckpointShapeName, shapeFiles } from "./checkpoint-shape.js";
import { writeSafetensors } from "./safetensors-writer.js";
import { type TensorSource, tensorSources } from "./tensor-source.js";

export interface WriteProgress {
  readonly writtenBytes: number;
  readonly totalBytes: number;
}

export interface RandomCheckpointOptions {
  /** Directory to make; it may exist if it is empty. */
  readonly out: string;
  /** Default `tiny`. */
  readonly like?: CheckpointShapeName;
  /** Replaces single sizes of `like`. */
  readonly shape?: Partial<CheckpointShape>;
  /** Default `huggingface`. */
  readonly layout?: CheckpointLayout;
  /** Whether experts are packed as MXFP4. Default true; the original layout has no other. */
  readonly quantised?: boolean;
  /** A non-negative safe integer. Default 0. The same seed gives the same weights in every layout. */
  readonly seed?: number;
  /** Begins a new file where one would grow beyond. Default: one file. */
  readonly maxShardBytes?: number;
  /** Default `bytes`: a tokenizer of all bytes, some English and harmony's special tokens. */
  readonly tokenizer?: "bytes" | "none";
  readonly onProgress?: (progress: WriteProgress) => void;
  readonly signal?: AbortSignal;
}

export interface WrittenCheckpoint {
  readonly directory: string;
  readonly config: ModelConfig;
  readonly parameters: ParameterCounts;
  /** Of the tensors. */
  readonly totalBytes: number;
  readonly files: readonly string[];
}

/**
 * Writes a checkpoint of random weights with finite activations, in bounded memory. INVALID_ARGUMENT for a shape that no model has,
 * ALREADY_EXISTS if the directory is not empty, RESOURCE_EXHAUSTED if the disk lacks space, CANCELLED by the signal; then nothing
 * of it is left behind. Random weights say nothing about real routing.
 */
export async function writeRandomCheckpoint(options: RandomCheckpointOptions): Promise<WrittenCheckpoint> {
  const { layout = "huggingface", quantised = true, seed = 0, tokenizer = "bytes" } = options;
  checkOptions({ layout, quantised, seed, maxShardBytes: options.maxShardBytes });
  const shape: CheckpointShape = { ...CHECKPOINT_SHAPES[options.like ?? "tiny"], ...options.shape };
  const files = shapeFiles({ shape, layout, quantised, harmony: tokenizer === "bytes" });
  const tokenizerJson = tokenizer === "bytes" ? makeBytesTokenizer(shape.vocabSize) : undefined;
  const plan = planCheckpoint({ config: files.parsed, layout, experts: quantised ? "mxfp4" : "bf16" });
  const sources = tensorSources(plan, files.parsed, seed);
  const totalBytes = sources.reduce((sum, { tensor }) => sum + plannedBytes(tensor), 0);
  const directory = resolve(options.out);
  await prepareDirectory(directory, totalBytes);
  try {
    const shards = splitShards(sources, options.maxShardBytes ?? Number.POSITIVE_INFINITY);
    const names = await writeShards({ directory, shards, totalBytes, options });
    if (tokenizerJson !== undefined) await writeJson(join(directory, "tokenizer.json"), tokenizerJson);
    await writeJson(join(directory, "generation_config.json"), files.generation);
    // Last: a directory without it is not taken for a checkpoint.
    await writeJson(join(directory, "config.json"), files.config);
    return { directory, config: files.parsed, parameters: countParameters(plan, files.parsed), totalBytes, files: names };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw AppError.from(error);
  }
}

interface CheckedOptions {
  readonly layout: CheckpointLayout;
  readonly quantised: boolean;
  readonly seed: number;
  readonly maxShardBytes: number | undefined;
}

function checkOptions({ layout, quantised, seed, maxShardBytes }: CheckedOptions): void {
  if (layout === "original" && !quantised) {
    throw new AppError("INVALID_ARGUMENT", "quantised: expected true, the original layout packs its experts");
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new AppError("INVALID_ARGUMENT", `seed: expected a non-negative integer, found ${seed}`);
  }
  if (maxShardBytes !== undefined && !(maxShardBytes >= 1)) {
    throw new AppError("INVALID_ARGUMENT", `maxShardBytes: expected at least 1, found ${maxShardBytes}`);
  }
}

async function prepareDirectory(directory: string, totalBytes: number): Promise<void> {
  try {
    await mkdir(dirname(directory), { recursive: true });
    const { bavail, bsize } = await statfs(dirname(directory));
    if (bavail * bsize < totalBytes) {
      const message = `${directory} needs ${totalBytes} bytes, but the disk has ${bavail * bsize}`;
      throw new AppError("RESOURCE_EXHAUSTED", message, { retryable: false, details: { totalBytes, freeBytes: bavail * bsize } });
    }
    await mkdir(directory, { recursive: true });
    const present = await readdir(directory);
    if (present.length > 0) throw new AppError("ALREADY_EXISTS", `${directory} is not empty`, { details: { directory } });
  } catch (error) {
    throw fromFileError(error, directory);
  }
}

function splitShards(sources: readonly TensorSource[], maxShardBytes: number): readonly (readonly TensorSource[])[] {
  const shards: TensorSource[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const source of sources) {
    const length = plannedBytes(source.tensor);
    const last = shards.at(-1);
    if (last === undefined || bytes + length > maxShardBytes) {
      shards.push([source]);
      bytes = length;
    } else {
      last.push(source);
      bytes += length;
    }
  }
  return shards;
}

interface ShardsToWrite {
  readonly directory: string;
  readonly shards: readonly (readonly TensorSource[])[];
  readonly totalBytes: number;
  readonly options: RandomCheckpointOptions;
}

/** Several files are numbered from 0, the last one's number being "of", as in the released checkpoints. */
async function writeShards({ directory, shards, totalBytes, options }: ShardsToWrite): Promise<readonly string[]> {
  const number = (index: number) => String(index).padStart(5, "0");
  const nameOf = (index: number) =>
    shards.length === 1 ? "model.safetensors" : `model-${number(index)}-of-${number(shards.length - 1)}.safetensors`;
  let writtenBytes = 0;
  const onWritten = (bytes: number) => {
    if (options.signal?.aborted)
      throw new AppError("CANCELLED", "writing the checkpoint was cancelled", { cause: options.signal.reason });
    writtenBytes += bytes;
    options.onProgress?.({ writtenBytes, totalBytes });
  };
  const names: string[] = [];
  for (const [index, sources] of shards.entries()) {
    const name = nameOf(index);
    await writeSafetensors({ path: join(directory, name), sources, onWritten });
    names.push(name);
  }
  if (shards.length > 1) await writeJson(join(directory, "model.safetensors.index.json"), shardIndex(shards, names, totalBytes));
  return names;
}

function shardIndex(shards: ShardsToWrite["shards"], names: readonly string[], totalBytes: number): unknown {
  const entries = shards.flatMap((sources, index) => sources.map(({ tensor }) => [tensor.name, names[index]] as const));
  return { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries(entries) };
}

async function writeJson(path: string, value: unknown): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(value, undefined, 2)}\n`, { flag: "wx" });
  } catch (error) {
    throw fromFileError(error, path);
  }
}
