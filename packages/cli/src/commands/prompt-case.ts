import { readFile, stat } from "node:fs/promises";
import type { NamedCase } from "@moiety/attention-worker";
import { AppError } from "@moiety/core";

/** Lists of token ids as the command line gives them: each ids, or a file of ids; several are joined. */
export interface PromptFlags {
  readonly tokens?: readonly string[];
  readonly forced?: readonly string[];
  readonly probeIds?: readonly string[];
  readonly name?: string;
}

const MAX_IDS = 1 << 20;
const MAX_FILE_BYTES = 16 * MAX_IDS;
const IDS = /^\s*\d+(?:[\s,]+\d+)*\s*$/;

/** The case that --tokens and the flags beside it describe. @throws AppError INVALID_ARGUMENT that names the flag. */
export async function promptCase({ tokens = [], forced, probeIds, name = "prompt" }: PromptFlags): Promise<NamedCase> {
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(name)) {
    throw new AppError(
      "INVALID_ARGUMENT",
      `--name: expected 1 to 100 characters of A-Z a-z 0-9 . _ -, found ${JSON.stringify(name)}`,
    );
  }
  return {
    name,
    tokens: await readTokenIds("--tokens", tokens),
    ...(forced === undefined ? {} : { forced: await readTokenIds("--forced", forced) }),
    ...(probeIds === undefined ? {} : { probeIds: await readTokenIds("--probe-ids", probeIds) }),
  };
}

/** The token ids of every text, each of which is ids separated by commas or spaces, or a file of such or of a JSON list. */
async function readTokenIds(flag: string, texts: readonly string[]): Promise<readonly number[]> {
  const ids: number[] = [];
  for (const text of texts) {
    for (const id of IDS.test(text) ? parseIds(text) : await readIdFile(flag, text)) ids.push(id);
    if (ids.length > MAX_IDS) throw new AppError("INVALID_ARGUMENT", `${flag}: there are more than ${MAX_IDS} token ids`);
  }
  const [wrong] = ids.filter((id) => !Number.isSafeInteger(id));
  if (wrong !== undefined) throw new AppError("INVALID_ARGUMENT", `${flag}: ${wrong} is no token id`);
  return ids;
}

async function readIdFile(flag: string, path: string): Promise<readonly number[]> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || !found.isFile()) {
    throw new AppError("INVALID_ARGUMENT", `${flag}: ${path} is neither token ids separated by commas nor a file of them`);
  }
  if (found.size > MAX_FILE_BYTES)
    throw new AppError("INVALID_ARGUMENT", `${flag}: ${path} is larger than ${MAX_FILE_BYTES} bytes`);
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new AppError("INVALID_ARGUMENT", `${flag}: ${path} cannot be read`, { cause });
  });
  const inner = text.replace(/^\s*\[([^[\]]*)\]\s*$/, "$1");
  if (!IDS.test(inner)) throw new AppError("INVALID_ARGUMENT", `${flag}: ${path} holds something else than token ids`);
  return parseIds(inner);
}

const parseIds = (text: string) =>
  text
    .trim()
    .split(/[\s,]+/)
    .map(Number);
