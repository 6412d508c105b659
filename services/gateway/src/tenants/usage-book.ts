import type { Clock } from "@moiety/core";
import { patiently, type RedisConnection } from "@moiety/queue";
import { accountKeys } from "./account-keys.js";
import { periodsOf } from "./periods.js";

export interface UsageBookOptions {
  readonly redis: RedisConnection;
  readonly prefix: string;
  readonly clock: Clock;
}

/** What a key took on one day. */
export interface DayUsage {
  readonly day: string;
  readonly tenant: string;
  readonly keyId: string;
  readonly requests: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

const PATIENCE_MS = 5_000;
const DAY_MS = 86_400_000;
const SUMS = { requests: "requests", prompt: "promptTokens", cached: "cachedTokens", completion: "completionTokens" } as const;
const FIELD = /^(requests|prompt|cached|completion) ([^/]*)\/(.*)$/s;

/** Sums of what keys took, day by day (UTC). Requests are counted on the day on which they were let in. */
export class UsageBook {
  readonly #options: UsageBookOptions;

  constructor(options: UsageBookOptions) {
    this.#options = options;
  }

  /** Of the days from `fromDay` to `toDay`, inclusive, oldest first; within a day by tenant and key. @throws AppError UNAVAILABLE. */
  async days(fromDay: string, toDay: string): Promise<readonly DayUsage[]> {
    const { redis, prefix, clock } = this.#options;
    const keys = accountKeys(prefix);
    const usages: DayUsage[] = [];
    for (let atMs = Date.parse(fromDay); atMs <= Date.parse(toDay); atMs += DAY_MS) {
      const { day } = periodsOf(atMs);
      const kept = await patiently(redis.hgetall(keys.usage(day)), { clock, patienceMs: PATIENCE_MS });
      usages.push(...readDay(day, kept));
    }
    return usages;
  }
}

function readDay(day: string, kept: Readonly<Record<string, string>>): readonly DayUsage[] {
  const byKey = new Map<string, DayUsage>();
  for (const [field, value] of Object.entries(kept)) {
    const [, sum, tenant = "", keyId = ""] = FIELD.exec(field) ?? [];
    if (sum === undefined) continue;
    const who = `${tenant}/${keyId}`;
    const nothing = { day, tenant, keyId, requests: 0, promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    byKey.set(who, { ...(byKey.get(who) ?? nothing), [SUMS[sum as keyof typeof SUMS]]: Number(value) });
  }
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, usage]) => usage);
}
