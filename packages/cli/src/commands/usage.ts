import type { Command } from "commander";
import { z } from "zod";
import { type AdminFlags, adminCommand, askAdminFor, tell } from "../admin/admin-client.js";

interface UsageFlags extends AdminFlags {
  readonly from?: string;
  readonly to?: string;
  readonly tenant?: string;
  readonly key?: string;
}

const usageSchema = z.object({
  data: z.array(
    z.object({
      day: z.string(),
      tenant: z.string(),
      key_id: z.string(),
      requests: z.number(),
      prompt_tokens: z.number(),
      cached_tokens: z.number(),
      completion_tokens: z.number(),
    }),
  ),
});

const EXAMPLES = `
Examples, with the admin key in MOIETY_ADMIN_KEY:
  $ moiety usage
  $ moiety usage --tenant search --from 2026-01-01 --to 2026-01-31`;

/** `moiety usage`. */
export function usageCommand(): Command {
  return adminCommand(
    "usage",
    "Prints what each API key took, day by day (UTC), of the last seven days or of those that are named.",
  )
    .summary("what each API key took, day by day")
    .option("--from <day>", "the first day, as 2026-01-31")
    .option("--to <day>", "the last day; default: today")
    .option("--tenant <name>", "of this tenant alone")
    .option("--key <id>", "of this key alone")
    .addHelpText("after", EXAMPLES)
    .action(async ({ from, to, tenant, key, ...flags }: UsageFlags) => {
      const query = queryOf({ from, to, tenant, key_id: key });
      const { data } = await askAdminFor(usageSchema, flags, { method: "GET", path: `usage${query}` });
      tell("day\ttenant\tkey\trequests\tprompt\tcached\tcompletion");
      for (const row of data) tell(Object.values(row).join("\t"));
    });
}

/** What was given of a query, with its question mark. */
export function queryOf(fields: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}
