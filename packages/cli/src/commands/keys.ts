import { Command, Option } from "commander";
import { z } from "zod";
import { type AdminFlags, adminCommand, askAdmin, askAdminFor, tell } from "../admin/admin-client.js";
import { durationMs } from "../option-values.js";
import { hashKeyCommand } from "./hash-key.js";

interface CreateFlags extends AdminFlags {
  readonly tenant: string;
  readonly name: string;
  readonly expiresIn?: number;
}

const seconds = z.number().nullable();
const keySchema = z.object({ id: z.string(), tenant: z.string(), name: z.string(), created_at: z.number(), expires_at: seconds });
const shownSchema = keySchema.extend({ key: z.string() });

const EXAMPLES = `
Examples, with the admin key in MOIETY_ADMIN_KEY:
  $ moiety keys create --tenant search --name production --expires-in 90d
  $ moiety keys list --url https://moiety.example.com
  $ moiety keys revoke key_0123456789abcdef`;

/** `moiety keys`. */
export function keysCommand(): Command {
  const keys = new Command("keys")
    .summary("create, list, rotate and revoke API keys; hash static ones")
    .description("Manages the API keys of a cluster whose gateways have an admin key.")
    .addHelpText("after", EXAMPLES);
  keys.addCommand(
    adminCommand("create", "create a key and show it, this once")
      .requiredOption("--tenant <name>", "whom the key is for")
      .option("--name <text>", "tells a tenant's keys apart", "")
      .addOption(
        new Option("--expires-in <time>", "how long it opens the API, as 12h or 90d; default: for ever").argParser(durationMs),
      )
      .action(async ({ tenant, name, expiresIn, ...flags }: CreateFlags) => {
        const ends = expiresIn === undefined ? {} : { expires_at: Math.floor((Date.now() + expiresIn) / 1_000) };
        show(await askAdminFor(shownSchema, flags, { method: "POST", path: "keys", body: { tenant, name, ...ends } }));
      }),
  );
  keys.addCommand(
    adminCommand("list", "list the keys, without their texts").action(async (flags: AdminFlags) => {
      const { data } = await askAdminFor(z.object({ data: z.array(keySchema) }), flags, { method: "GET", path: "keys" });
      for (const { id, tenant, name, created_at, expires_at } of data) {
        tell([id, tenant, timeOf(created_at), expires_at === null ? "never" : timeOf(expires_at), name].join("\t"));
      }
    }),
  );
  keys.addCommand(
    adminCommand("rotate", "give a key another text and show it, this once")
      .argument("<id>", "id of the key")
      .action(async (id: string, flags: AdminFlags) => {
        show(await askAdminFor(shownSchema, flags, { method: "POST", path: `keys/${encodeURIComponent(id)}/rotate` }));
      }),
  );
  keys.addCommand(
    adminCommand("revoke", "forget a key; it opens nothing from then on")
      .argument("<id>", "id of the key")
      .action(async (id: string, flags: AdminFlags) => {
        await askAdmin(flags, { method: "DELETE", path: `keys/${encodeURIComponent(id)}` });
        tell(`${id} is revoked`);
      }),
  );
  keys.addCommand(hashKeyCommand());
  return keys;
}

const timeOf = (atS: number) => new Date(atS * 1_000).toISOString();

function show({ id, tenant, key }: z.output<typeof shownSchema>): void {
  process.stderr.write(`${id} of ${tenant}; it is not shown again:\n`);
  tell(key);
}
