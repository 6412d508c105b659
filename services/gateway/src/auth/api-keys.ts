import { timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { AppError, parseTenantId, type TenantId } from "@moiety/core";
import { digestOf } from "./issued-key.js";

interface KeyEntry {
  readonly tenant: TenantId;
  readonly digest: Buffer;
}

const MAX_KEYS = 10_000;

/** Who may use the gateway. Keys are kept as digests only. */
export class ApiKeys {
  readonly #entries: readonly KeyEntry[];

  constructor(entries: readonly KeyEntry[]) {
    this.#entries = entries;
  }

  /** False when no key was configured: everyone is the same tenant. */
  get required(): boolean {
    return this.#entries.length > 0;
  }

  /** The owner of a key. Takes the same time for every key, right or wrong. */
  tenantOf(key: string): TenantId | undefined {
    const digest = digestOf(key);
    let found: TenantId | undefined;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.tenant;
    return found;
  }
}

/** Reads `name:key` or `key` items. @throws AppError INVALID_ARGUMENT that names the item's position, never the key. */
function parseApiKeys(items: readonly string[]): ApiKeys {
  const lines = items.map((item) => item.trim()).filter((item) => item !== "" && !item.startsWith("#"));
  if (lines.length > MAX_KEYS) throw new AppError("INVALID_ARGUMENT", `there may be at most ${MAX_KEYS} API keys`);
  const entries = lines.map((line, index) => {
    const colon = line.indexOf(":");
    const name = colon < 0 ? `key-${index + 1}` : line.slice(0, colon).trim();
    const key = line.slice(colon + 1).trim();
    if (key.length < 8) throw new AppError("INVALID_ARGUMENT", `API key ${index + 1}: expected at least 8 characters`);
    try {
      return { tenant: parseTenantId(name), digest: digestOf(key) };
    } catch (error) {
      throw new AppError("INVALID_ARGUMENT", `API key ${index + 1}: ${AppError.from(error).message}`);
    }
  });
  return new ApiKeys(entries);
}

/** @throws AppError INVALID_ARGUMENT for a file that cannot be read or holds no usable keys. */
export async function loadApiKeys(list: string | undefined, file: string | undefined): Promise<ApiKeys> {
  const items = list?.split(",") ?? [];
  if (file === undefined) return parseApiKeys(items);
  try {
    return parseApiKeys([...items, ...(await readFile(file, "utf8")).split("\n")]);
  } catch (error) {
    throw error instanceof AppError
      ? error
      : new AppError("INVALID_ARGUMENT", `MOIETY_API_KEYS_FILE cannot be read: ${file}`, { cause: error });
  }
}
