import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "@moiety/core";

/** More than any config.json, fleet or bench result has. */
const MAX_BYTES = 16 * 1024 * 1024;

/** @throws AppError NOT_FOUND, or INVALID_ARGUMENT for a file that is too large or not JSON. */
export async function readJson(file: string): Promise<unknown> {
  const { size } = await stat(file).catch((cause: unknown) => {
    throw new AppError("NOT_FOUND", `${file}: cannot be read`, { cause });
  });
  if (size > MAX_BYTES) throw new AppError("INVALID_ARGUMENT", `${file}: ${size} bytes, expected at most ${MAX_BYTES}`);
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new AppError("NOT_FOUND", `${file}: cannot be read`, { cause });
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError("INVALID_ARGUMENT", `${file}: not valid JSON`, { cause });
  }
}

/** The config.json of a checkpoint's folder. */
export function readCheckpointConfig(folder: string): Promise<unknown> {
  return readJson(join(folder, "config.json"));
}
