import { once } from "node:events";
import { type Command, InvalidArgumentError } from "commander";
import { type AdminFlags, adminCommand, askAdmin } from "../admin/admin-client.js";
import { queryOf } from "./usage.js";

interface AuditFlags extends AdminFlags {
  readonly from?: number;
  readonly to?: number;
  readonly tenant?: string;
  readonly after?: string;
}

const PAGE = "10000";

const EXAMPLES = `
Examples, with the admin key in MOIETY_ADMIN_KEY:
  $ moiety audit > audit.jsonl
  $ moiety audit --tenant search --from 2026-01-31T12:00:00Z
  $ moiety audit --after "$(tail -n 1 audit.jsonl | jq -r .id)" >> audit.jsonl`;

/** `moiety audit`. */
export function auditCommand(): Command {
  return adminCommand("audit", "Prints the audit log: a line of JSON for each entry, the oldest first.")
    .summary("export the audit log as JSON lines")
    .option("--from <time>", "entries from then on, as 2026-01-31 or 2026-01-31T12:00:00Z", secondsOf)
    .option("--to <time>", "entries until then", secondsOf)
    .option("--tenant <name>", "entries of this tenant alone; - for strangers and administration")
    .option("--after <id>", "entries after the one of this id")
    .addHelpText("after", EXAMPLES)
    .action(async ({ from, to, tenant, after: given, ...flags }: AuditFlags) => {
      for (let after = given; ; ) {
        const query = queryOf({ from: textOf(from), to: textOf(to), tenant, after, limit: PAGE });
        const answer = await askAdmin(flags, { method: "GET", path: `audit${query}` });
        if (!process.stdout.write(await answer.text())) await once(process.stdout, "drain");
        after = answer.headers.get("x-next-after") ?? undefined;
        if (after === undefined) return;
      }
    });
}

const textOf = (value: number | undefined) => (value === undefined ? undefined : String(value));

function secondsOf(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError("Expected a time as 2026-01-31 or 2026-01-31T12:00:00Z.");
  return ms / 1_000;
}
