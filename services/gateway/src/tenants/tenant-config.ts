import { env } from "@moiety/runtime";

const limit = (what: string) =>
  env
    .integer({ min: 0, max: 1_000_000_000_000, fallback: 0 })
    .describe(`${what} of each tenant that has no limit of its own; 0: no limit`);

/** What a gateway can be told about tenants. */
export const tenantConfigShape = {
  MOIETY_LIMIT_REQUESTS_PER_MINUTE: limit("requests per minute"),
  MOIETY_LIMIT_TOKENS_PER_MINUTE: limit("tokens per minute"),
  MOIETY_LIMIT_CONCURRENT_REQUESTS: limit("choices that wait or are answered at once"),
  MOIETY_LIMIT_CONTEXT_TOKENS: limit("longest prompt plus answer"),
  MOIETY_LIMIT_TOKENS_PER_DAY: limit("tokens per day (UTC)"),
  MOIETY_LIMIT_TOKENS_PER_MONTH: limit("tokens per month (UTC)"),
  MOIETY_EXPECTED_OUTPUT_TOKENS: env
    .integer({ min: 1, max: 1_000_000, fallback: 1_024 })
    .describe("tokens that an answer without max_tokens is expected to have; what it has counts once it has ended"),
  MOIETY_TENANT_LEASE_MS: env
    .integer({ min: 500, max: 600_000, fallback: 15_000 })
    .describe("how long after its gateway died what a request has reserved is looked after by another"),
  MOIETY_USAGE_DAYS: env
    .integer({ min: 1, max: 3_650, fallback: 90 })
    .describe("days for which the sums of what each key took are kept"),
  MOIETY_USAGE_SUBJECTS: env
    .integer({ min: 0, max: 10_000, fallback: 1_000 })
    .describe("subjects of a tenant's tokens whose sums are kept apart on a day; those of later ones are kept together"),
  MOIETY_AUDIT_ENTRIES: env
    .integer({ min: 0, max: 100_000_000, fallback: 100_000 })
    .describe("entries of the audit log, of which the oldest make room; 0: there is no audit log"),
  MOIETY_AUDIT_DAYS: env
    .integer({ min: 0, max: 3_650, fallback: 30 })
    .describe("days after which entries of the audit log go; 0: none goes for its age"),
  MOIETY_AUDIT_TEXT_CHARACTERS: env
    .integer({ min: 1, max: 1_000_000, fallback: 4_096 })
    .describe("characters of a prompt, and of an answer, in the audit log of a tenant that wants text in it"),
};
