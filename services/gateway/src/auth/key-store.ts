import { AppError, type Clock, type TenantId } from "@moiety/core";
import { connectRedis, disconnectRedis, patiently, queueKeys, type RedisConnection, RedisScript } from "@moiety/queue";
import { digestOf, type IssuedKey, idInKeyText, issuedKeySchema, newKeyId, newKeyText, opensWith } from "./issued-key.js";

export interface KeyStoreOptions {
  readonly redisUrl: string;
  readonly prefix: string;
  readonly clock: Clock;
  readonly onError: (error: AppError) => void;
}

export interface NewKey {
  readonly tenant: TenantId;
  readonly name: string;
  /** Absent: it never expires. */
  readonly expiresAtMs?: number;
}

/** A key, and its text, which nobody can find out later. */
export interface ShownKey {
  readonly key: IssuedKey;
  readonly text: string;
}

const PATIENCE_MS = 5_000;
const MAX_KEYS = 10_000;

/** KEYS[1] keys. ARGV id, key, bound. Repeated it is the same. Returns 1 stored; 0 there are as many as there may be. */
const createScript = new RedisScript(`
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
`);

/** KEYS[1] keys. ARGV id, key as it was, key as it shall be. Repeated it is the same. Returns 1 stored; 0 another changed it meanwhile. */
const replaceScript = new RedisScript(`
local now = redis.call('HGET', KEYS[1], ARGV[1])
if now == ARGV[3] then return 1 end
if now ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`);

/** API keys in Redis, where all gateways see at once what one of them changed. */
export class KeyStore {
  readonly #clock: Clock;
  readonly #redis: RedisConnection;
  readonly #keys: string;

  constructor({ redisUrl, prefix, clock, onError }: KeyStoreOptions) {
    this.#clock = clock;
    this.#keys = `${queueKeys(prefix).prefix}:keys`;
    this.#redis = connectRedis({ redisUrl, onError }, "keys");
  }

  /** The key that a text belongs to, asked of Redis every time; absent: it opens nothing. @throws AppError UNAVAILABLE, DATA_LOSS. */
  async keyOf(text: string): Promise<IssuedKey | undefined> {
    const id = idInKeyText(text);
    if (id === undefined) return undefined;
    const stored = await this.#read(id);
    if (stored === undefined) return undefined;
    const key = parseKey(stored);
    const isOver = key.expiresAtMs !== undefined && key.expiresAtMs <= this.#clock.nowMs();
    return opensWith(key, text) && !isOver ? key : undefined;
  }

  /** @throws AppError RESOURCE_EXHAUSTED, UNAVAILABLE. */
  async create({ tenant, name, expiresAtMs }: NewKey): Promise<ShownKey> {
    const id = newKeyId();
    const text = newKeyText(id);
    const digest = digestOf(text).toString("hex");
    const ends = expiresAtMs === undefined ? {} : { expiresAtMs };
    const key = { id, tenant, name, digest, createdAtMs: this.#clock.nowMs(), ...ends };
    if ((await this.#run(createScript, [id, JSON.stringify(key), MAX_KEYS])) === 1) return { key, text };
    throw new AppError("RESOURCE_EXHAUSTED", `there are ${MAX_KEYS} API keys, and may be no more; revoke some`);
  }

  /** Oldest first. @throws AppError UNAVAILABLE, DATA_LOSS. */
  async list(): Promise<readonly IssuedKey[]> {
    const keys = (await this.#patiently(this.#redis.hvals(this.#keys))).map(parseKey);
    return keys.sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  }

  /** Gives a key another text, and leaves its expiry; the one that it had opens nothing from now on. @throws AppError NOT_FOUND, ABORTED, UNAVAILABLE. */
  async rotate(id: string): Promise<ShownKey> {
    const stored = await this.#read(id);
    if (stored === undefined) throw noSuchKey();
    const text = newKeyText(id);
    const key = { ...parseKey(stored), digest: digestOf(text).toString("hex"), rotatedAtMs: this.#clock.nowMs() };
    if ((await this.#run(replaceScript, [id, stored, JSON.stringify(key)])) === 1) return { key, text };
    throw new AppError("ABORTED", "the key was changed by another meanwhile; try again");
  }

  /** Forgets a key; it opens nothing from now on. @throws AppError NOT_FOUND, UNAVAILABLE. */
  async revoke(id: string): Promise<void> {
    if ((await this.#patiently(this.#redis.hdel(this.#keys, id))) === 0) throw noSuchKey();
  }

  close(): Promise<void> {
    return disconnectRedis(this.#redis);
  }

  async #read(id: string): Promise<string | undefined> {
    return (await this.#patiently(this.#redis.hget(this.#keys, id))) ?? undefined;
  }

  #run(script: RedisScript, args: readonly (string | number)[]): Promise<unknown> {
    return this.#patiently(script.run(this.#redis, [this.#keys], args));
  }

  #patiently<T>(work: Promise<T>): Promise<T> {
    return patiently(work, { clock: this.#clock, patienceMs: PATIENCE_MS });
  }
}

const noSuchKey = () => new AppError("NOT_FOUND", "there is no such key", { details: { param: "id" } });

function parseKey(text: string): IssuedKey {
  try {
    return issuedKeySchema.parse(JSON.parse(text));
  } catch {
    // Not with its cause, which could show what is stored.
    throw new AppError("DATA_LOSS", "a stored API key cannot be read", { retryable: false });
  }
}
