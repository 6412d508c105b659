import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError } from "@moiety/core";
import { type Command, InvalidArgumentError } from "commander";
import { type AdminFlags, adminCommand, askAdmin } from "../admin/admin-client.js";
import { queryOf } from "./usage.js";

interface AuditFlags extends AdminFlags {
  readonly from?: number;
  readonly to?: number;
  readonly tenant?: string;
  readonly after?: string;
  readonly follow: boolean;
}

const PAGE = "10000";
/** Between looks for what is new. */
const FOLLOW_MS = 1_000;
/** Longest pause after a gateway did not answer. */
const MAX_PAUSE_MS = 30_000;

const EXAMPLES = `
Examples, with the admin key in MOIETY_ADMIN_KEY:
  $ moiety audit > audit.jsonl
  $ moiety audit --tenant search --from 2026-01-31T12:00:00Z
  $ moiety audit --follow --after "$(tail -n 1 audit.jsonl | jq -r .id)" >> audit.jsonl`;

/** `moiety audit`. */
export function auditCommand(): Command {
  return adminCommand("audit", "Prints the audit log: a line of JSON for each entry, the oldest first.")
    .summary("export or follow the audit log as JSON lines")
    .option("--from <time>", "entries from then on, as 2026-01-31 or 2026-01-31T12:00:00Z", secondsOf)
    .option("--to <time>", "entries until then", secondsOf)
    .option("--tenant <name>", "entries of this tenant alone; - for strangers and administration")
    .option("--after <id>", "entries after the one of this id")
    .option("--follow", "go on with what is written from then on, over gateways that are away", false)
    .addHelpText("after", EXAMPLES)
    .action(printEntries);
}

async function printEntries({ from, to, tenant, after: given, follow, ...flags }: AuditFlags): Promise<void> {
  if (follow && to !== undefined) throw new AppError("INVALID_ARGUMENT", "expected one of --follow and --to");
  const read = follow ? readPatiently : readPage;
  for (let after = given; ; ) {
    const query = queryOf({ from: textOf(from), to: textOf(to), tenant, after, limit: PAGE });
    const page = await read(flags, `audit${query}`);
    if (page.isCut) tellAside(`the log was cut off: entries that came after ${after} may be missing here`);
    if (!process.stdout.write(page.text)) await once(process.stdout, "drain");
    if (page.isLast && !follow) return;
    after = page.last ?? after;
    if (page.isLast) await sleep(FOLLOW_MS);
  }
}

/** @throws AppError as {@link askAdmin} does. */
async function readPage(flags: AdminFlags, path: string) {
  const answer = await askAdmin(flags, { method: "GET", path });
  const header = (name: string) => answer.headers.get(name) ?? undefined;
  const text = await answer.text().catch((error: unknown) => {
    throw new AppError("UNAVAILABLE", `the answer of ${flags.url} broke off`, { cause: error });
  });
  const next = header("x-next-after");
  return { text, isLast: next === undefined, last: next ?? header("x-last-id"), isCut: header("x-entries-cut") !== undefined };
}

/** Asks until a gateway answers. @throws AppError when it answers that it will not. */
async function readPatiently(flags: AdminFlags, path: string): ReturnType<typeof readPage> {
  for (let pauseMs = FOLLOW_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
    try {
      return await readPage(flags, path);
    } catch (error) {
      const fault = AppError.from(error);
      if (fault.code !== "UNAVAILABLE") throw fault;
      if (pauseMs === FOLLOW_MS) tellAside(`${fault.message}; trying again`);
      await sleep(pauseMs);
    }
  }
}

const tellAside = (text: string) => process.stderr.write(`moiety: ${text}\n`);
const textOf = (value: number | undefined) => (value === undefined ? undefined : String(value));

function secondsOf(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError("Expected a time as 2026-01-31 or 2026-01-31T12:00:00Z.");
  return ms / 1_000;
}
