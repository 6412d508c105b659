import { AppError } from "@moiety/core";
import { Command, Option } from "commander";
import { z } from "zod";
import { httpUrl } from "../option-values.js";

interface AdminFlags {
  readonly url: string;
  readonly adminKey?: string;
}

interface CreateFlags extends AdminFlags {
  readonly tenant: string;
  readonly name: string;
}

interface AdminRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** Below `/admin/v1/keys`. */
  readonly path?: string;
  readonly body?: object;
}

const TIMEOUT_MS = 30_000;
const keySchema = z.object({ id: z.string(), tenant: z.string(), name: z.string(), created_at: z.number() });
const shownSchema = keySchema.extend({ key: z.string() });
const errorSchema = z.object({ error: z.object({ message: z.string() }) });

const EXAMPLES = `
Examples, with the admin key in MOIETY_ADMIN_KEY:
  $ moiety keys create --tenant search --name production
  $ moiety keys list --url https://moiety.example.com
  $ moiety keys revoke key_0123456789abcdef`;

/** `moiety keys`. */
export function keysCommand(): Command {
  const keys = new Command("keys")
    .summary("create, list, rotate and revoke API keys")
    .description("Manages the API keys of a cluster whose gateways have an admin key.")
    .addHelpText("after", EXAMPLES);
  keys.addCommand(
    adminCommand("create", "create a key and show it, this once")
      .requiredOption("--tenant <name>", "whom the key is for")
      .option("--name <text>", "tells a tenant's keys apart", "")
      .action(async (flags: CreateFlags) => {
        show(await askAdmin(flags, { method: "POST", body: { tenant: flags.tenant, name: flags.name } }));
      }),
  );
  keys.addCommand(
    adminCommand("list", "list the keys, without their texts").action(async (flags: AdminFlags) => {
      const { data } = z.object({ data: z.array(keySchema) }).parse(await askAdmin(flags, { method: "GET" }));
      for (const { id, tenant, name, created_at } of data) {
        tell([id, tenant, new Date(created_at * 1_000).toISOString(), name].join("\t"));
      }
    }),
  );
  keys.addCommand(
    adminCommand("rotate", "give a key another text and show it, this once")
      .argument("<id>", "id of the key")
      .action(async (id: string, flags: AdminFlags) => {
        show(await askAdmin(flags, { method: "POST", path: `/${encodeURIComponent(id)}/rotate` }));
      }),
  );
  keys.addCommand(
    adminCommand("revoke", "forget a key; it opens nothing from then on")
      .argument("<id>", "id of the key")
      .action(async (id: string, flags: AdminFlags) => {
        await askAdmin(flags, { method: "DELETE", path: `/${encodeURIComponent(id)}` });
        tell(`${id} is revoked`);
      }),
  );
  return keys;
}

function adminCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(
      new Option("--url <url>", "base of the API, without /admin/v1")
        .env("MOIETY_URL")
        .default("http://127.0.0.1:8080")
        .argParser(httpUrl),
    )
    .addOption(
      new Option("--admin-key <key>", "the gateway's admin key; better given in the environment").env("MOIETY_ADMIN_KEY"),
    );
}

async function askAdmin({ url, adminKey }: AdminFlags, { method, path = "", body }: AdminRequest): Promise<unknown> {
  if (adminKey === undefined) throw new AppError("INVALID_ARGUMENT", "expected the admin key in MOIETY_ADMIN_KEY");
  const headers = { authorization: `Bearer ${adminKey}`, ...(body ? { "content-type": "application/json" } : {}) };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(`${url}/admin/v1/keys${path}`, {
    method,
    headers,
    signal,
    ...(body ? { body: JSON.stringify(body) } : {}),
  }).catch((error: unknown) => {
    throw new AppError("UNAVAILABLE", `cannot reach ${url}; is a cluster running (moiety up)?`, { cause: error });
  });
  const answer: unknown = await response.json().catch(() => undefined);
  if (response.ok) return answer;
  const fault = errorSchema.safeParse(answer);
  throw new AppError("UNKNOWN", `${url} answered ${response.status}${fault.success ? `: ${fault.data.error.message}` : ""}`);
}

function show(answer: unknown): void {
  const { id, tenant, key } = shownSchema.parse(answer);
  process.stderr.write(`${id} of ${tenant}; it is not shown again:\n`);
  tell(key);
}

const tell = (line: string) => process.stdout.write(`${line}\n`);
