import { AppError, type Clock, parseRequestId, parseTenantId, type RequestId, type TenantId } from "@moiety/core";
import { asArray, asText, patiently, type RedisConnection } from "@moiety/queue";
import type { Caller } from "../auth/authenticate.js";
import { SUBJECT_PREFIX } from "../auth/jwt-verifier.js";
import { type AccountKeys, accountKeys } from "./account-keys.js";
import { admitScript, settleScript, voidScript, vouchScript } from "./account-scripts.js";
import { type AuditEntry, auditFields } from "./audit-entry.js";
import { type AuditRetention, oldestKeptMs } from "./audit-log.js";
import type { AuditTally } from "./audit-tally.js";
import { periodsOf } from "./periods.js";
import { type LimitName, type RateLimits, refusal } from "./rate-limits.js";
import type { TenantPolicy } from "./tenant-record.js";

export interface AccountBookOptions {
  readonly redis: RedisConnection;
  readonly prefix: string;
  readonly clock: Clock;
  /** How long a request is believed to run whose gateway does not vouch for it. */
  readonly leaseMs: number;
  /** How long the sums of a day are kept. */
  readonly usageDays: number;
  /** Subjects of a tenant's tokens that are counted apart on a day. */
  readonly usageSubjects: number;
  readonly audit: AuditRetention;
  readonly tally: Pick<AuditTally, "wrote">;
  readonly onError: (error: AppError) => void;
}

/** A request that asks to be let in. */
export interface AdmissionRequest {
  readonly id: RequestId;
  readonly caller: Caller;
  readonly policy: TenantPolicy;
  readonly choices: readonly RequestId[];
  readonly promptTokens: number;
  readonly reservedTokens: number;
  /** For the audit log. */
  readonly kind: string;
  readonly requestId: string;
}

/** What a request took. */
export interface Taken {
  /** 1, or 0 for one of which nothing was answered. */
  readonly requests: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** A request that has reserved something. */
export interface Lease extends Pick<AdmissionRequest, "id" | "caller" | "choices" | "promptTokens" | "kind" | "requestId"> {}

/** As long as queue and token log know a request after its end, so that it cannot come again and be counted twice. */
const SETTLED_MS = 900_000;
const PATIENCE_MS = 5_000;
/** Sums of one day: four of each key. */
const MAX_SUMS = 100_000;
const DAY_MS = 86_400_000;
/** No key is called so. */
const OTHER_SUBJECTS = "jwt-others";

/** What tenants have reserved, taken and spent: in Redis, where the scripts of all gateways see the same. */
export class AccountBook {
  readonly keys: AccountKeys;
  readonly #options: AccountBookOptions;

  constructor(options: AccountBookOptions) {
    this.#options = options;
    this.keys = accountKeys(options.prefix);
    const { redis, onError } = options;
    // A Redis that restarted knows none: the next request of a tenant must not be let in, or not, before its last one is settled.
    redis.on("ready", () => {
      for (const script of [admitScript, settleScript, voidScript, vouchScript]) {
        script.load(redis).catch((error: unknown) => onError(AppError.from(error, "UNAVAILABLE")));
      }
    });
  }

  /**
   * Reserves what a request may take, if its tenant's limits allow all of it. Repeated it is the same.
   * @throws AppError RESOURCE_EXHAUSTED with details.rateLimits and details.retryAfterMs; UNAVAILABLE.
   */
  async admit(asked: AdmissionRequest): Promise<RateLimits> {
    const { redis, clock, leaseMs } = this.#options;
    const { id, caller, policy, choices, promptTokens, kind, requestId } = asked;
    const { tenant, keyId } = caller;
    const nowMs = clock.nowMs();
    const { day, month } = periodsOf(nowMs);
    const { requestsPerMinute: perMinute = 0, tokensPerMinute = 0, concurrentRequests = 0 } = policy;
    const { tokensPerDay = 0, tokensPerMonth = 0 } = policy;
    const about = JSON.stringify({ promptTokens, kind, requestId });
    const args = [
      ...[nowMs, leaseMs, perMinute, tokensPerMinute, concurrentRequests, tokensPerDay, tokensPerMonth],
      ...[day, month, asked.reservedTokens, tenant, keyId, id, about, ...choices],
    ];
    const answer = asArray(await this.#patiently(admitScript.run(redis, [...this.#keysOf(tenant, id), this.keys.leases], args)));
    const [outcome, reason, waitMs, used, requestsLeft, requestsMs, tokensLeft, tokensMs] = answer;
    const limits: RateLimits = {
      ...(perMinute > 0 ? { requests: { limit: perMinute, remaining: Number(requestsLeft), resetMs: Number(requestsMs) } } : {}),
      ...(tokensPerMinute > 0
        ? { tokens: { limit: tokensPerMinute, remaining: Number(tokensLeft), resetMs: Number(tokensMs) } }
        : {}),
    };
    if (outcome !== 0) return limits;
    const name = asText(reason) as LimitName;
    throw refusal({ name, policy, asked, used: Number(used), waitMs: Number(waitMs), nowMs, limits });
  }

  /** Whether there is room for any request of a tenant now; reserves nothing. @throws AppError as {@link admit} does. */
  async look(asked: Pick<AdmissionRequest, "id" | "caller" | "policy" | "requestId">): Promise<void> {
    await this.admit({ ...asked, choices: [], promptTokens: 0, reservedTokens: 0, kind: "" });
  }

  /** Counts what a request took, once, and writes the entry with it. @returns false when it was counted before. */
  async settle(lease: Lease, taken: Taken, entry: AuditEntry): Promise<boolean> {
    const { redis, clock, usageDays, usageSubjects, audit, tally } = this.#options;
    const { tenant, keyId } = lease.caller;
    const nowMs = clock.nowMs();
    const args = [
      ...[lease.id, SETTLED_MS, tenant, keyId, periodsOf(nowMs).day, this.keys.usage(""), usageDays * DAY_MS, MAX_SUMS],
      ...[taken.requests, taken.promptTokens, taken.cachedTokens, taken.completionTokens],
      ...[SUBJECT_PREFIX, usageSubjects, OTHER_SUBJECTS],
      ...[audit.entries, oldestKeptMs(audit, nowMs), ...auditFields(entry)],
    ];
    const keys = [...this.#keysOf(tenant, lease.id), this.keys.leases, this.keys.audit];
    const [isCounted, ...written] = asArray(await settleScript.run(redis, keys, args));
    tally.wrote(written);
    return isCounted === 1;
  }

  /** Takes an admission back: nothing of the request ran. */
  async void(lease: Pick<Lease, "id" | "caller">): Promise<void> {
    const keys = [...this.#keysOf(lease.caller.tenant, lease.id), this.keys.leases];
    await voidScript.run(this.#options.redis, keys, [lease.id]);
  }

  /** Prolongs leases; gives those that are still open. */
  async vouch<T extends Lease>(leases: readonly T[]): Promise<readonly T[]> {
    if (leases.length === 0) return [];
    const { redis, clock, leaseMs } = this.#options;
    const each = leases.flatMap(({ id, caller, choices }) => [id, caller.tenant, choices.join(" ")]);
    const args = [clock.nowMs() + leaseMs, clock.nowMs() + 2 * leaseMs, this.keys.live(""), ...each];
    const answers = asArray(await vouchScript.run(redis, [this.keys.leases], args));
    return leases.filter((_, index) => answers[index] === 1);
  }

  /** Leases that nobody vouches for any more. One that cannot be read is forgotten. */
  async abandoned(limit: number): Promise<readonly Lease[]> {
    const { redis, clock } = this.#options;
    const ids = await redis.zrangebyscore(this.keys.leases, "-inf", clock.nowMs(), "LIMIT", 0, limit);
    const leases: Lease[] = [];
    for (const text of ids) {
      const lease = readLease(text, await redis.hgetall(this.keys.lease(parseRequestId(text))));
      if (lease) leases.push(lease);
      else await redis.zrem(this.keys.leases, text);
    }
    return leases;
  }

  /** What a tenant has in hand and has spent. @throws AppError UNAVAILABLE. */
  async state(tenant: TenantId): Promise<{ readonly live: number; readonly day: number; readonly month: number }> {
    const { redis, clock } = this.#options;
    const nowMs = clock.nowMs();
    const { day, month } = periodsOf(nowMs);
    const [live, kept] = await this.#patiently(
      Promise.all([
        redis.zcount(this.keys.live(tenant), `(${nowMs}`, "+inf"),
        redis.hmget(this.keys.account(tenant), "day", "dayOf", "month", "monthOf"),
      ]),
    );
    return { live, day: kept[1] === day ? Number(kept[0]) : 0, month: kept[3] === month ? Number(kept[2]) : 0 };
  }

  #keysOf(tenant: TenantId, id: RequestId): readonly string[] {
    return [this.keys.account(tenant), this.keys.live(tenant), this.keys.lease(id)];
  }

  #patiently<T>(work: Promise<T>): Promise<T> {
    return patiently(work, { clock: this.#options.clock, patienceMs: PATIENCE_MS });
  }
}

function readLease(id: string, kept: Readonly<Record<string, string>>): Lease | undefined {
  const { state, tenant, key, choices, about } = kept;
  if (state !== "open" || !tenant || !key || !choices || !about) return undefined;
  try {
    const { promptTokens, kind, requestId } = JSON.parse(about);
    return {
      id: parseRequestId(id),
      caller: { tenant: parseTenantId(tenant), keyId: key },
      choices: choices.split(" ").map(parseRequestId),
      promptTokens: Number(promptTokens),
      kind: String(kind),
      requestId: String(requestId),
    };
  } catch (error) {
    throw new AppError("DATA_LOSS", "a stored lease cannot be read", { retryable: false, cause: error });
  }
}
