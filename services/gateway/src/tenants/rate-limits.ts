import { AppError } from "@moiety/core";
import type { AdmissionRequest } from "./account-book.js";
import { msUntilNext } from "./periods.js";
import type { TenantPolicy } from "./tenant-record.js";

/** Of a limit per minute: how much could be taken now, and when all of it can. */
export interface RateLimit {
  readonly limit: number;
  readonly remaining: number;
  readonly resetMs: number;
}

/** Absent: not limited. */
export interface RateLimits {
  readonly requests?: RateLimit;
  readonly tokens?: RateLimit;
}

/** Which limit a request met, as the script names it. */
export type LimitName = "concurrent" | "requests" | "tokens" | "day" | "month";

export interface Refusal {
  readonly name: LimitName;
  readonly policy: TenantPolicy;
  readonly asked: AdmissionRequest;
  /** Of the limit. */
  readonly used: number;
  readonly waitMs: number;
  readonly nowMs: number;
  readonly limits: RateLimits;
}

/** What a client that was refused is told: OpenAI's words and codes, so that its clients know what to do. */
export function refusal({ name, policy, asked, used, waitMs, nowMs, limits }: Refusal): AppError {
  // One of each at least, where what is asked for is not known yet.
  const reservedTokens = Math.max(1, asked.reservedTokens);
  const choices = Math.max(1, asked.choices.length);
  const rate = (message: string, openaiType: string, retryAfterMs: number) =>
    new AppError("RESOURCE_EXHAUSTED", message, { details: { rateLimits: limits, tenantLimit: name, openaiType, retryAfterMs } });
  switch (name) {
    case "requests":
      return rate(`Rate limit reached on requests per minute: limit ${policy.requestsPerMinute}`, "requests", waitMs);
    case "tokens": {
      const have = `limit ${policy.tokensPerMinute}, left ${limits.tokens?.remaining ?? 0}, requested ${reservedTokens}`;
      return rate(`Rate limit reached on tokens per minute: ${have}`, "tokens", waitMs);
    }
    case "concurrent": {
      const most = policy.concurrentRequests ?? 0;
      if (choices > most) {
        throw new AppError("INVALID_ARGUMENT", `n: ${choices} choices are more than the ${most} that may be answered at once`, {
          details: { param: "n", tenantLimit: name },
        });
      }
      // Nobody knows when one of them ends.
      const retryAfterMs = 1_000 + Math.floor(Math.random() * 1_000);
      return rate(
        `Rate limit reached on requests at once: limit ${most}, in hand ${used}, requested ${choices}`,
        "requests",
        retryAfterMs,
      );
    }
    default: {
      const budget = name === "day" ? policy.tokensPerDay : policy.tokensPerMonth;
      const have = `limit ${budget}, spent or reserved ${used}, requested ${reservedTokens}`;
      return new AppError("RESOURCE_EXHAUSTED", `You exceeded your quota of tokens per ${name}: ${have}`, {
        details: {
          rateLimits: limits,
          tenantLimit: name,
          openaiCode: "insufficient_quota",
          openaiType: "insufficient_quota",
          retryAfterMs: msUntilNext(name, nowMs),
        },
      });
    }
  }
}
