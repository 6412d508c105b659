import { AppError } from "@moiety/core";
import { Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { type AdminFlags, adminCommand, askAdmin, askAdminFor, tell } from "../admin/admin-client.js";

const limit = z.union([z.number(), z.string(), z.array(z.string())]).nullable();
const tenantSchema = z.object({
  id: z.string(),
  limits: z.record(z.string(), limit),
  effective_limits: z.record(z.string(), limit),
  audit_text: z.boolean(),
  now: z.record(z.string(), z.number()).optional(),
});

/** Flags that set limits, and the limits' names in the API. */
const LIMITS = {
  requestsPerMinute: ["requests_per_minute", "HTTP requests that ask for an answer, per minute"],
  tokensPerMinute: ["tokens_per_minute", "tokens of prompts and answers, per minute"],
  concurrentRequests: ["concurrent_requests", "choices that wait or are answered at once"],
  contextTokens: ["context_tokens", "longest prompt plus answer"],
  tokensPerDay: ["tokens_per_day", "tokens of prompts and answers, per day (UTC)"],
  tokensPerMonth: ["tokens_per_month", "tokens of prompts and answers, per month (UTC)"],
  mostUrgentPriority: ["most_urgent_priority", "the lowest priority that may be asked for"],
} as const;

/** In place of a limit. */
type Word = "none" | "default";

type SetFlags = AdminFlags & {
  readonly [Flag in keyof typeof LIMITS]?: number | Word;
} & { readonly models?: readonly string[] | Word; readonly auditText?: boolean };

const EXAMPLES = `
Examples, with the admin key in MOIETY_ADMIN_KEY:
  $ moiety tenants set search --requests-per-minute 600 --tokens-per-day 5000000
  $ moiety tenants set search --tokens-per-day none --concurrent-requests default
  $ moiety tenants show search`;

/** `moiety tenants`. */
export function tenantsCommand(): Command {
  const tenants = new Command("tenants")
    .summary("list tenants, show and change their limits")
    .description("Manages the limits of tenants in a cluster whose gateways have an admin key.")
    .addHelpText("after", EXAMPLES);
  tenants.addCommand(
    adminCommand("list", "list the tenants that have limits of their own").action(async (flags: AdminFlags) => {
      const { data } = await askAdminFor(z.object({ data: z.array(tenantSchema) }), flags, { method: "GET", path: "tenants" });
      for (const { id, limits } of data) tell([id, ...ownLimits(limits)].join("\t"));
    }),
  );
  tenants.addCommand(
    adminCommand("show", "show a tenant's limits, and what it has in hand and has spent")
      .argument("<tenant>", "name of the tenant")
      .action(async (tenant: string, flags: AdminFlags) => {
        show(await askAdminFor(tenantSchema, flags, { method: "GET", path: pathOf(tenant) }));
      }),
  );
  tenants.addCommand(setCommand());
  tenants.addCommand(
    adminCommand("delete", "forget a tenant's own limits; its keys stay")
      .argument("<tenant>", "name of the tenant")
      .action(async (tenant: string, flags: AdminFlags) => {
        await askAdmin(flags, { method: "DELETE", path: pathOf(tenant) });
        tell(`${tenant} has the limits of all`);
      }),
  );
  return tenants;
}

function setCommand(): Command {
  const set = adminCommand("set", "give a tenant limits; those that are not named stay as they are").argument(
    "<tenant>",
    "name of the tenant",
  );
  for (const [flag, [, what]] of Object.entries(LIMITS)) {
    const name = flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    set.addOption(new Option(`--${name} <count>`, `${what}; none: no limit; default: the cluster's`).argParser(limitValue));
  }
  return set
    .addOption(
      new Option("--models <names>", "models that it may use, separated by commas; none: all").argParser((text) =>
        isWord(text) ? text : text.split(","),
      ),
    )
    .option("--audit-text", "have the audit log hold what it asks and is answered")
    .option("--no-audit-text", "keep that out of the audit log, as is the default")
    .action(async (tenant: string, flags: SetFlags, command: Command) => {
      const named = Object.entries(LIMITS).map(([flag, [name]]) => [name, flags[flag as keyof typeof LIMITS]] as const);
      const given = [...named, ["models", flags.models] as const].filter(([, value]) => value !== undefined);
      const limits = Object.fromEntries(given.map(([name, value]) => [name, value === "none" ? null : value]));
      // Commander makes true of a switch that can be negated and was not given.
      const text = command.getOptionValueSource("auditText") === "cli" ? { audit_text: flags.auditText } : {};
      if (Object.keys({ ...limits, ...text }).length === 0) {
        throw new AppError("INVALID_ARGUMENT", "expected at least one limit to set (try --help)");
      }
      show(await askAdminFor(tenantSchema, flags, { method: "POST", path: pathOf(tenant), body: { limits, ...text } }));
    });
}

const pathOf = (tenant: string) => `tenants/${encodeURIComponent(tenant)}`;

const isWord = (text: string): text is Word => text === "none" || text === "default";

function limitValue(text: string): number | Word {
  if (isWord(text)) return text;
  if (/^-?\d{1,13}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Expected a whole number, none or default.");
}

const ownLimits = (limits: z.output<typeof tenantSchema>["limits"]) =>
  Object.entries(limits)
    .filter(([, value]) => value !== "default")
    .map(([name, value]) => `${name}=${value ?? "none"}`);

function show({ id, limits, effective_limits, audit_text, now = {} }: z.output<typeof tenantSchema>): void {
  tell(id);
  for (const [name, value] of Object.entries(effective_limits)) {
    tell(`  ${name}\t${value ?? "none"}${limits[name] === "default" ? "\t(default)" : ""}`);
  }
  tell(`  audit_text\t${audit_text}`);
  for (const [name, value] of Object.entries(now)) tell(`  now: ${name}\t${value}`);
}
