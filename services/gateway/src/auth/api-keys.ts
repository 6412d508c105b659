import { timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { AppError, parseTenantId, type TenantId } from "@moiety/core";
import { digestOf } from "./issued-key.js";

interface KeyEntry {
  readonly tenant: TenantId;
  /** What usage and the audit log call the key. */
  readonly id: string;
  readonly digest: Buffer;
}

const MAX_KEYS = 10_000;
const MIN_CHARACTERS = 8;
const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const HASH = "sha256:";
/** Of a digest: enough to tell keys apart. */
const ID_DIGITS = 8;

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

  /** The owner of a key, and the key's id. Takes the same time for every key, right or wrong. */
  ownerOf(key: string): Pick<KeyEntry, "tenant" | "id"> | undefined {
    const digest = digestOf(key);
    let found: KeyEntry | undefined;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry;
    return found;
  }
}

const fault = (message: string) => new AppError("INVALID_ARGUMENT", message);

/** Reads items as {@link parseItem} does, but for empty ones and comments. @throws AppError that names the item's position, never the key. */
function parseApiKeys(items: readonly string[]): ApiKeys {
  const lines = items.map((item) => item.trim()).filter((item) => item !== "" && !item.startsWith("#"));
  if (lines.length > MAX_KEYS) throw fault(`there may be at most ${MAX_KEYS} API keys`);
  const entries = lines.map((line, index) => {
    try {
      return parseItem(line, `key-${index + 1}`);
    } catch (error) {
      throw fault(`API key ${index + 1}: ${AppError.from(error).message}`);
    }
  });
  return new ApiKeys(entries);
}

/** `tenant:key`, `tenant/name:key` or `key`; in place of the key `sha256:` and the 64 digits of its hash. */
function parseItem(line: string, nameless: string): KeyEntry {
  const colon = line.startsWith(HASH) ? -1 : line.indexOf(":");
  const [tenant = "", name, ...rest] = (colon < 0 ? nameless : line.slice(0, colon).trim()).split("/");
  if (rest.length > 0 || (name !== undefined && !KEY_NAME.test(name))) {
    throw fault("expected a name of 1 to 64 characters of A-Z a-z 0-9 . _ - after the tenant's /");
  }
  const digest = parseDigest(line.slice(colon + 1).trim());
  return { tenant: parseTenantId(tenant), id: `static-${name ?? digest.toString("hex", 0, ID_DIGITS / 2)}`, digest };
}

function parseDigest(key: string): Buffer {
  if (!key.startsWith(HASH)) {
    if (key.length < MIN_CHARACTERS) throw fault(`expected at least ${MIN_CHARACTERS} characters`);
    return digestOf(key);
  }
  const digits = key.slice(HASH.length);
  if (!/^[0-9a-f]{64}$/i.test(digits)) throw fault(`expected 64 hexadecimal digits after ${HASH}`);
  return Buffer.from(digits, "hex");
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
