import type { Clock } from "@moiety/core";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { invalidField } from "../openai/errors.js";
import { parseBody } from "../openai/request-fields.js";
import type { AuditLog } from "../tenants/audit-log.js";
import { periodsOf } from "../tenants/periods.js";
import type { UsageBook } from "../tenants/usage-book.js";
import { tenantName } from "./key-routes.js";

export interface AccountRoutesOptions {
  readonly usage: UsageBook;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

const DAY_MS = 86_400_000;
/** That one answer may cover. */
const MAX_DAYS = 366;
const NEXT_HEADER = "x-next-after";
/** Id of the last entry that the page came to, whether or not it holds it. */
const LAST_HEADER = "x-last-id";
/** The entry `after` is no more, and perhaps some that came after it. */
const CUT_HEADER = "x-entries-cut";

const day = z
  .string()
  .regex(/^\d{4}-\d\d-\d\d$/, "expected a day as 2026-01-31")
  .refine((text) => periodsOf(Date.parse(text) || 0).day === text, "expected a day that there is");

export const usageQuerySchema = z.object({
  from: day.optional().describe("the first day (UTC); default: that of six days before the last"),
  to: day.optional().describe("the last day (UTC); default: today"),
  tenant: tenantName.optional(),
  key_id: z.string().min(1).max(128).optional(),
});

const time = z.coerce.number("expected seconds since 1970").min(0).max(253_402_300_799).optional();
export const auditQuerySchema = z.object({
  after: z
    .string()
    .regex(/^\d{1,15}-\d{1,15}$/, "expected the id of an entry")
    .optional(),
  limit: z.coerce
    .number("expected 1 to 10000")
    .int("expected 1 to 10000")
    .min(1, "expected 1 to 10000")
    .max(10_000, "expected 1 to 10000")
    .default(1_000),
  tenant: z
    .union([z.literal("-"), tenantName])
    .optional()
    .describe("- for whoever is none: strangers, and administration"),
  from: time.describe("of the oldest entry, seconds since 1970"),
  to: time.describe("of the newest entry, seconds since 1970"),
});

/** `/admin/v1/usage` and `/admin/v1/audit`. */
export function addAccountRoutes(app: FastifyInstance, { usage, audit, clock }: AccountRoutesOptions): void {
  app.get("/admin/v1/usage", async (request) => {
    const { from, to = periodsOf(clock.nowMs()).day, tenant, key_id } = parseBody(usageQuerySchema, request.query);
    const first = from ?? periodsOf(Date.parse(to) - 6 * DAY_MS).day;
    const days = (Date.parse(to) - Date.parse(first)) / DAY_MS + 1;
    if (days < 1 || days > MAX_DAYS) throw invalidField("from", `expected 1 to ${MAX_DAYS} days, found ${days}`);
    const found = await usage.days(first, to);
    const wanted = found.filter(
      (each) => (tenant === undefined || each.tenant === tenant) && (key_id === undefined || each.keyId === key_id),
    );
    const data = wanted.map((each) => ({
      day: each.day,
      tenant: each.tenant,
      key_id: each.keyId,
      requests: each.requests,
      prompt_tokens: each.promptTokens,
      cached_tokens: each.cachedTokens,
      completion_tokens: each.completionTokens,
    }));
    return { object: "list", from: first, to, data };
  });
  app.get("/admin/v1/audit", async (request, reply) => {
    const { after, limit, tenant, from, to } = parseBody(auditQuerySchema, request.query);
    const page = await audit.page({
      limit,
      ...(after === undefined ? {} : { after }),
      ...(tenant === undefined ? {} : { tenant }),
      ...(from === undefined ? {} : { fromMs: Math.floor(from * 1_000) }),
      ...(to === undefined ? {} : { toMs: Math.floor(to * 1_000) }),
    });
    if (page.next !== undefined) reply.header(NEXT_HEADER, page.next);
    if (page.last !== undefined) reply.header(LAST_HEADER, page.last);
    if (page.isCut) reply.header(CUT_HEADER, "true");
    reply.type("application/x-ndjson");
    return page.lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  });
}
