import { z } from "zod";

/** A limit of a tenant's own: a number, or null for none. Absent: the cluster's default holds. */
const limit = (max: number) => z.number().int().min(1).max(max).nullable().exactOptional();
const MOST = 1_000_000_000_000;

/** What a tenant may do. Absent fields leave it to the defaults. */
export const tenantLimitsSchema = z.object({
  requestsPerMinute: limit(10_000_000),
  tokensPerMinute: limit(MOST),
  /** Choices that wait or are answered at once. */
  concurrentRequests: limit(1_000_000),
  /** Prompt plus answer. */
  contextTokens: limit(100_000_000),
  tokensPerDay: limit(MOST),
  tokensPerMonth: limit(MOST),
  /** Its most urgent priority: the lowest number that it may ask for. */
  mostUrgentPriority: z.number().int().min(-1_000).max(1_000).nullable().exactOptional(),
  /** Absent or null: all. */
  models: z.array(z.string().min(1).max(256)).max(256).nullable().exactOptional(),
});
export type TenantLimits = z.output<typeof tenantLimitsSchema>;

/** A tenant as it is stored. */
export const tenantRecordSchema = z.object({
  limits: tenantLimitsSchema,
  /** Whether the audit log holds what was asked and answered, too. */
  auditText: z.boolean(),
  createdAtMs: z.number().int(),
  changedAtMs: z.number().int(),
});
export type TenantRecord = z.output<typeof tenantRecordSchema>;

/** What holds for a tenant: its own limits over the defaults. Absent: no limit. */
export interface TenantPolicy {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  readonly concurrentRequests?: number;
  readonly contextTokens?: number;
  readonly tokensPerDay?: number;
  readonly tokensPerMonth?: number;
  readonly mostUrgentPriority?: number;
  readonly models?: readonly string[];
  readonly auditText: boolean;
}

/** Limits of every tenant that has none of its own. */
export type DefaultLimits = Omit<TenantPolicy, "auditText">;

/** A record's own limits over the defaults; null takes a default away. */
export function policyOf(record: TenantRecord | undefined, defaults: DefaultLimits): TenantPolicy {
  const merged = Object.entries({ ...defaults, ...record?.limits }).filter(([, value]) => value !== null);
  return { ...Object.fromEntries(merged), auditText: record?.auditText ?? false };
}
