import { z } from "zod";
import { count } from "./answers.js";

const number = z.number().int();
const time = z.number().int().nullable().describe("seconds since 1970; null: the tenant has no record");

const limitNames = [
  "requests_per_minute",
  "tokens_per_minute",
  "concurrent_requests",
  "context_tokens",
  "tokens_per_day",
  "tokens_per_month",
  "most_urgent_priority",
] as const;
const limits = <Limit extends z.ZodType>(limit: Limit, models: z.ZodType) =>
  z.object({ ...Object.fromEntries(limitNames.map((name) => [name, limit])), models });

export const tenantAnswer = z.object({
  id: z.string(),
  object: z.literal("tenant"),
  limits: limits(
    z.union([number, z.literal("default")]).nullable(),
    z.union([z.array(z.string()), z.literal("default")]).nullable(),
  ),
  effective_limits: limits(number.nullable(), z.array(z.string()).nullable()),
  audit_text: z.boolean(),
  created_at: time,
  changed_at: time,
  now: z.object({ concurrent_requests: count, tokens_today: count, tokens_this_month: count }).optional(),
});
export const tenantsAnswer = z.object({ object: z.literal("list"), data: z.array(tenantAnswer) });
export const tenantDeletedAnswer = z.object({ id: z.string(), object: z.literal("tenant"), deleted: z.literal(true) });

export const usageAnswer = z.object({
  object: z.literal("list"),
  from: z.string(),
  to: z.string(),
  data: z.array(
    z.object({
      day: z.string(),
      tenant: z.string(),
      key_id: z.string(),
      requests: count,
      prompt_tokens: count,
      cached_tokens: count,
      completion_tokens: count,
    }),
  ),
});
