import { AppError, type Clock, parseTenantId, type TenantId } from "@moiety/core";
import { patiently, queueKeys, type RedisConnection, RedisScript } from "@moiety/queue";
import { type DefaultLimits, policyOf, type TenantPolicy, type TenantRecord, tenantRecordSchema } from "./tenant-record.js";

export interface TenantStoreOptions {
  readonly redis: RedisConnection;
  readonly prefix: string;
  readonly clock: Clock;
  readonly defaults: DefaultLimits;
}

export interface StoredTenant {
  readonly tenant: TenantId;
  readonly record: TenantRecord;
}

const PATIENCE_MS = 5_000;
const MAX_TENANTS = 10_000;
/** A change that another gateway made is seen after so long at the latest. */
const FRESH_MS = 1_000;
const MAX_REMEMBERED = 10_000;
const ATTEMPTS = 5;

/**
 * Writes a record if it is still what its writer read. KEYS[1] tenants. ARGV tenant, record as it was or empty, record as it shall be, bound.
 * Repeated it is the same. Returns 1 stored; 0 another changed it meanwhile; -1 there are as many as there may be.
 */
const replaceScript = new RedisScript(`
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now == ARGV[3] then return 1 end
if now ~= ARGV[2] then return 0 end
if now == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`);

/** Tenants that have a record, in Redis, where all gateways see what one of them changed. */
export class TenantStore {
  readonly #options: TenantStoreOptions;
  readonly #key: string;
  /** Records as they were last read, absent ones too. */
  readonly #remembered = new Map<TenantId, { readonly atMs: number; readonly record: Promise<TenantRecord | undefined> }>();

  constructor(options: TenantStoreOptions) {
    this.#options = options;
    this.#key = `${queueKeys(options.prefix).prefix}:tenants`;
  }

  /** What holds for a tenant, at most a second old. @throws AppError UNAVAILABLE, DATA_LOSS. */
  async policy(tenant: TenantId): Promise<TenantPolicy> {
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#remembered.get(tenant);
    if (known && nowMs - known.atMs < FRESH_MS) return policyOf(await known.record, this.#options.defaults);
    const record = this.read(tenant);
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(tenant, { atMs: nowMs, record });
    record.catch(() => this.#remembered.delete(tenant));
    return policyOf(await record, this.#options.defaults);
  }

  /** What a record comes to with the defaults. */
  effective(record: TenantRecord | undefined): TenantPolicy {
    return policyOf(record, this.#options.defaults);
  }

  /** Absent: the tenant has no record. @throws AppError UNAVAILABLE, DATA_LOSS. */
  async read(tenant: TenantId): Promise<TenantRecord | undefined> {
    const text = await this.#patiently(this.#options.redis.hget(this.#key, tenant));
    return text === null ? undefined : parseRecord(text);
  }

  /** In the order of their names. @throws AppError UNAVAILABLE, DATA_LOSS. */
  async list(): Promise<readonly StoredTenant[]> {
    const all = Object.entries(await this.#patiently(this.#options.redis.hgetall(this.#key)));
    return all
      .map(([tenant, text]) => ({ tenant: parseTenantId(tenant), record: parseRecord(text) }))
      .sort((a, b) => (a.tenant < b.tenant ? -1 : 1));
  }

  /** Makes a record of what is stored, if anything. @throws AppError RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE, DATA_LOSS. */
  async change(tenant: TenantId, change: (record: TenantRecord | undefined) => TenantRecord): Promise<TenantRecord> {
    const { redis } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const text = (await this.#patiently(redis.hget(this.#key, tenant))) ?? "";
      const record = change(text === "" ? undefined : parseRecord(text));
      const args = [tenant, text, JSON.stringify(record), MAX_TENANTS];
      const outcome = await this.#patiently(replaceScript.run(redis, [this.#key], args));
      if (outcome === -1) {
        throw new AppError("RESOURCE_EXHAUSTED", `there are ${MAX_TENANTS} tenants with a record, and may be no more`);
      }
      if (outcome === 0) continue;
      this.#remembered.delete(tenant);
      return record;
    }
    throw new AppError("ABORTED", "the tenant was changed by others meanwhile; try again");
  }

  /** Forgets a record: the defaults hold again. @throws AppError NOT_FOUND, UNAVAILABLE. */
  async remove(tenant: TenantId): Promise<void> {
    const removed = await this.#patiently(this.#options.redis.hdel(this.#key, tenant));
    this.#remembered.delete(tenant);
    if (removed === 0) throw noSuchTenant();
  }

  #patiently<T>(work: Promise<T>): Promise<T> {
    return patiently(work, { clock: this.#options.clock, patienceMs: PATIENCE_MS });
  }
}

const noSuchTenant = () => new AppError("NOT_FOUND", "the tenant has no record", { details: { param: "tenant" } });

function parseRecord(text: string): TenantRecord {
  try {
    return tenantRecordSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new AppError("DATA_LOSS", "a stored tenant cannot be read", { retryable: false, cause: error });
  }
}
