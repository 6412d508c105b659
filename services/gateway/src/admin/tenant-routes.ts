import { type Clock, parseTenantId, type TenantId } from "@moiety/core";
import type { Logger } from "@moiety/runtime";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { checkBodyShape } from "../openai/body-limits.js";
import { parseBody } from "../openai/request-fields.js";
import type { AccountBook } from "../tenants/account-book.js";
import type { TenantLimits, TenantRecord } from "../tenants/tenant-record.js";
import type { TenantStore } from "../tenants/tenant-store.js";
import { tenantName } from "./key-routes.js";

export interface TenantRoutesOptions {
  readonly tenants: TenantStore;
  readonly book: AccountBook;
  readonly logger: Logger;
  readonly clock: Clock;
}

interface TenantPath {
  readonly Params: { readonly tenant: string };
}

const MOST = 1_000_000_000_000;
const expected = "expected a whole number, null for no limit, or default";
const limit = (max: number, what: string) =>
  z
    .union([z.number().int().min(1).max(max), z.literal("default")], { error: expected })
    .nullable()
    .optional()
    .describe(`${what}; null: no limit; default: the cluster's; left out: as it is`);

const limitFields = {
  requests_per_minute: limit(10_000_000, "HTTP requests that ask for an answer, per minute"),
  tokens_per_minute: limit(MOST, "tokens of prompts and answers, per minute"),
  concurrent_requests: limit(1_000_000, "choices that wait or are answered at once"),
  context_tokens: limit(100_000_000, "longest prompt plus answer"),
  tokens_per_day: limit(MOST, "tokens of prompts and answers, per day (UTC)"),
  tokens_per_month: limit(MOST, "tokens of prompts and answers, per month (UTC)"),
  most_urgent_priority: z
    .union([z.number().int().min(-1_000).max(1_000), z.literal("default")], { error: expected })
    .nullable()
    .optional()
    .describe("the lowest priority that may be asked for; null: any; left out: as it is"),
  models: z
    .union([z.array(z.string().min(1).max(256)).max(256), z.literal("default")], {
      error: "expected a list of names, or null for all",
    })
    .nullable()
    .optional()
    .describe("names of the models that may be used; null: all; left out: as it is"),
};

export const tenantRequestSchema = z.object({
  limits: z.object(limitFields).optional(),
  audit_text: z.boolean().optional().describe("whether the audit log holds what was asked and answered; left out: as it is"),
});

/** Names of limits, in the API and as they are stored. */
const NAMES = {
  requests_per_minute: "requestsPerMinute",
  tokens_per_minute: "tokensPerMinute",
  concurrent_requests: "concurrentRequests",
  context_tokens: "contextTokens",
  tokens_per_day: "tokensPerDay",
  tokens_per_month: "tokensPerMonth",
  most_urgent_priority: "mostUrgentPriority",
  models: "models",
} as const satisfies Record<keyof typeof limitFields, keyof TenantLimits>;

type TenantRequest = z.output<typeof tenantRequestSchema>;

/** `/admin/v1/tenants`. */
export function addTenantRoutes(app: FastifyInstance, options: TenantRoutesOptions): void {
  const { tenants, logger, clock } = options;
  const named = ({ params }: { readonly params: TenantPath["Params"] }): TenantId =>
    parseTenantId(parseBody(z.object({ tenant: tenantName }), params).tenant);
  app.get("/admin/v1/tenants", async () => {
    const data = (await tenants.list()).map(({ tenant, record }) => describeTenant(options, tenant, record));
    return { object: "list", data };
  });
  app.get<TenantPath>("/admin/v1/tenants/:tenant", async (request) => {
    const tenant = named(request);
    const [record, state] = await Promise.all([tenants.read(tenant), options.book.state(tenant)]);
    const { live, day, month } = state;
    const now = { concurrent_requests: live, tokens_today: day, tokens_this_month: month };
    return { ...describeTenant(options, tenant, record), now };
  });
  app.post<TenantPath>("/admin/v1/tenants/:tenant", async (request) => {
    const tenant = named(request);
    checkBodyShape(request.body);
    const asked = parseBody(tenantRequestSchema, request.body);
    const record = await tenants.change(tenant, (known) => changed(known, asked, clock.nowMs()));
    logger.info({ requestId: request.id, tenant }, "tenant changed");
    return describeTenant(options, tenant, record);
  });
  app.delete<TenantPath>("/admin/v1/tenants/:tenant", async (request) => {
    const tenant = named(request);
    await tenants.remove(tenant);
    logger.info({ requestId: request.id, tenant }, "tenant's record removed");
    return { id: tenant, object: "tenant", deleted: true };
  });
}

function changed(known: TenantRecord | undefined, { limits, audit_text }: TenantRequest, nowMs: number): TenantRecord {
  const own: Record<string, unknown> = { ...known?.limits };
  for (const [name, value] of Object.entries(limits ?? {})) {
    const field = NAMES[name as keyof typeof NAMES];
    if (value === "default") delete own[field];
    else if (value !== undefined) own[field] = value;
  }
  return {
    limits: own,
    auditText: audit_text ?? known?.auditText ?? false,
    createdAtMs: known?.createdAtMs ?? nowMs,
    changedAtMs: nowMs,
  };
}

function describeTenant({ tenants }: TenantRoutesOptions, tenant: TenantId, record: TenantRecord | undefined) {
  const policy = tenants.effective(record);
  const shown = (limits: TenantLimits | typeof policy, absent: "default" | null) =>
    Object.fromEntries(
      Object.entries(NAMES).map(([name, field]) => [name, limits[field] === undefined ? absent : limits[field]]),
    );
  return {
    id: tenant,
    object: "tenant",
    /** Its own. */
    limits: shown(record?.limits ?? {}, "default"),
    effective_limits: shown(policy, null),
    audit_text: policy.auditText,
    created_at: record ? Math.floor(record.createdAtMs / 1_000) : null,
    changed_at: record ? Math.floor(record.changedAtMs / 1_000) : null,
  };
}
