import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { AppError } from "@moiety/core";

/** Where a checkpoint's files are. */
export interface FoundCheckpoint {
  /** Holds config.json and the safetensors files. */
  readonly directory: string;
  readonly generationFile: string | undefined;
  readonly tokenizerFile: string | undefined;
}

/**
 * A release keeps the original layout in a folder `original/`, whose tokenizer and generation_config.json are one level up.
 * NOT_FOUND if the directory or its config.json does not exist.
 */
export async function findCheckpoint(directory: string): Promise<FoundCheckpoint> {
  if (await exists(join(directory, "config.json"))) {
    const places = basename(directory) === "original" ? [directory, dirname(directory)] : [directory];
    return findCompanions(directory, places);
  }
  const original = join(directory, "original");
  if (await exists(join(original, "config.json"))) return findCompanions(original, [original, directory]);
  throw new AppError("NOT_FOUND", `${directory} is not a checkpoint: it has no config.json`, { details: { directory } });
}

async function findCompanions(directory: string, places: readonly string[]): Promise<FoundCheckpoint> {
  return {
    directory,
    generationFile: await firstExisting(places.map((place) => join(place, "generation_config.json"))),
    tokenizerFile: await firstExisting(places.map((place) => join(place, "tokenizer.json"))),
  };
}

async function firstExisting(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await exists(path)) return path;
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
