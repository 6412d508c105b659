import { open } from "node:fs/promises";
import { basename } from "node:path";
import { AppError } from "@moiety/core";
import { fromFileError } from "./file-error.js";
import { parseStrictJson } from "./strict-json.js";

export interface ReadJsonOptions {
  readonly maxBytes: number;
  readonly maxDepth?: number;
}

/** Reads a small JSON file whole. NOT_FOUND if there is none; INVALID_ARGUMENT if it is too large, not UTF-8 or not strict JSON. */
export async function readJsonFile(path: string, options: ReadJsonOptions): Promise<unknown> {
  const bytes = await readBounded(path, options.maxBytes);
  return parseStrictJson(decodeUtf8(bytes, basename(path)), { file: basename(path), maxDepth: options.maxDepth ?? 32 });
}

/** Like {@link readJsonFile}, but undefined if the file does not exist. */
export async function readJsonFileIfPresent(path: string, options: ReadJsonOptions): Promise<unknown> {
  try {
    return await readJsonFile(path, options);
  } catch (error) {
    if (error instanceof AppError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

export function decodeUtf8(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AppError("INVALID_ARGUMENT", `${file}: not valid UTF-8`, { details: { file }, cause });
  }
}

async function readBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  const file = basename(path);
  try {
    const handle = await open(path, "r");
    try {
      const { size } = await handle.stat();
      if (size > maxBytes) {
        throw new AppError("INVALID_ARGUMENT", `${file}: ${size} bytes, expected at most ${maxBytes}`, {
          details: { file, size },
        });
      }
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromFileError(error, path);
  }
}
