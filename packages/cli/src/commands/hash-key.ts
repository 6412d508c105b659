import { createHash, randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import { AppError } from "@moiety/core";
import { Command, InvalidArgumentError } from "commander";
import { tell } from "../admin/admin-client.js";

interface HashFlags {
  readonly tenant: string;
  readonly name?: string;
  readonly new: boolean;
}

/** A gateway takes no shorter ones. */
const MIN_CHARACTERS = 8;
/** A shorter key can be found from its hash with patience, unless it is random. */
const FEW_CHARACTERS = 24;

/** `moiety keys hash`, which asks no gateway. */
export function hashKeyCommand(): Command {
  return new Command("hash")
    .description("Prints the line by which MOIETY_API_KEYS_FILE or MOIETY_API_KEYS holds a key's hash in place of the key.")
    .summary("the hash of a static key, for a gateway's file of keys")
    .requiredOption("--tenant <name>", "whom the key is for", matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/))
    .option("--name <name>", "tells a tenant's keys apart in usage and audit log", matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/))
    .option("--new", "make a key, and show it on the terminal, this once; default: read one from standard input", false)
    .addHelpText("after", EXAMPLES)
    .action(async (flags: HashFlags) => {
      tell(keyLine(flags, flags.new ? newKey() : await givenKey()));
    });
}

const EXAMPLES = `
Examples:
  $ moiety keys hash --tenant search --name production --new >> keys
  $ moiety keys hash --tenant search < key.txt >> keys`;

const keyLine = ({ tenant, name }: HashFlags, key: string) =>
  `${tenant}${name === undefined ? "" : `/${name}`}:sha256:${createHash("sha256").update(key).digest("hex")}`;

function newKey(): string {
  const key = randomBytes(32).toString("base64url");
  process.stderr.write(`the key, which is not shown again: ${key}\n`);
  return key;
}

/** @throws AppError INVALID_ARGUMENT. */
async function givenKey(): Promise<string> {
  if (process.stdin.isTTY) throw new AppError("INVALID_ARGUMENT", "expected the key on standard input, or --new");
  const key = (await text(process.stdin)).trim();
  if (!/^\S+$/.test(key) || key.length < MIN_CHARACTERS) {
    throw new AppError("INVALID_ARGUMENT", `expected a key of at least ${MIN_CHARACTERS} characters and no spaces`);
  }
  if (key.length < FEW_CHARACTERS) process.stderr.write("a key this short can be guessed from its hash unless it is random\n");
  return key;
}

function matching(pattern: RegExp): (given: string) => string {
  return (given) => {
    if (pattern.test(given)) return given;
    throw new InvalidArgumentError("Expected A-Z a-z 0-9 . _ - that begin with a letter or digit.");
  };
}
