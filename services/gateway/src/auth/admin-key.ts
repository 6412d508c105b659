import { readFile } from "node:fs/promises";
import { AppError } from "@moiety/core";
import { digestOf } from "./issued-key.js";

const MIN_CHARACTERS = 16;

/** The digest of the admin key; absent: there is none. @throws AppError INVALID_ARGUMENT that never shows the key. */
export async function loadAdminKey(text: string | undefined, file: string | undefined): Promise<Buffer | undefined> {
  if (text !== undefined && file !== undefined) {
    throw new AppError("INVALID_ARGUMENT", "expected one of MOIETY_ADMIN_KEY and MOIETY_ADMIN_KEY_FILE, found both");
  }
  const key = file === undefined ? text?.trim() : await readKey(file);
  if (key === undefined) return undefined;
  if (!/^\S+$/.test(key) || key.length < MIN_CHARACTERS) {
    throw new AppError("INVALID_ARGUMENT", `the admin key: expected at least ${MIN_CHARACTERS} characters and no spaces`);
  }
  return digestOf(key);
}

async function readKey(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new AppError("INVALID_ARGUMENT", `MOIETY_ADMIN_KEY_FILE cannot be read: ${file}`, { cause: error });
  }
}
