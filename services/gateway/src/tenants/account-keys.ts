import type { RequestId, TenantId } from "@moiety/core";
import { queueKeys } from "@moiety/queue";

/** Keys of what tenants use. All share the queue's hash tag, so that scripts may touch several of them in Redis Cluster. */
export interface AccountKeys {
  /** Levels of the limits per minute, and what is spent of the budgets. */
  account(tenant: TenantId): string;
  /** Choices that wait or are answered, by when that is no longer believed. */
  live(tenant: TenantId | ""): string;
  /** What a request has reserved. */
  lease(id: RequestId): string;
  /** Requests that have reserved something, by when whoever vouches for them is taken for gone. */
  readonly leases: string;
  /** Sums of a day; its date follows. */
  usage(day: string): string;
  readonly audit: string;
}

/** @throws AppError INVALID_ARGUMENT for a prefix that would break the hash tag. */
export function accountKeys(prefix: string): AccountKeys {
  const tag = queueKeys(prefix).prefix;
  return {
    account: (tenant) => `${tag}:account:${tenant}`,
    live: (tenant) => `${tag}:live:${tenant}`,
    lease: (id) => `${tag}:lease:${id}`,
    leases: `${tag}:leases`,
    usage: (day) => `${tag}:usage:${day}`,
    audit: `${tag}:audit`,
  };
}
