import { readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { AppError } from "@moiety/core";
import { SPECIAL_TOKENS, STOP_TOKENS } from "@moiety/harmony";
import { type ModelConfig, openCheckpoint, openTokenizer, parseModelConfig, type Tokenizer } from "@moiety/model";

/** What the gateway knows of the model that the cluster serves. */
export interface ServedModel {
  readonly name: string;
  readonly createdAtS: number;
  readonly config: ModelConfig;
  /** What attention workers must name as theirs. Absent: the folder holds no weights to tell it by. */
  readonly fingerprint?: string;
  /** Which edition of the weights it is, where that is known. */
  readonly revision?: string;
  /** Absent: the checkpoint has none, and is served by token ids alone. */
  readonly tokenizer?: Tokenizer;
  /** Whether the tokenizer has harmony's markup, so that chats are rendered in it. */
  readonly harmony: boolean;
  /** Tokens that end a completion. */
  readonly eosTokenIds: readonly number[];
  /** Tokens that end a turn of a chat. */
  readonly chatStopTokenIds: readonly number[];
}

async function firstExisting(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const found = await stat(path).then(
      (entry) => entry.isFile(),
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new AppError("INVALID_ARGUMENT", `${path} cannot be read as JSON`, { cause: error });
  }
}

async function readConfig(configFile: string, generationFile: string | undefined): Promise<ModelConfig> {
  const config = await readJson(configFile);
  const generation = generationFile === undefined ? {} : { generation: await readJson(generationFile) };
  try {
    return parseModelConfig({ config, ...generation });
  } catch (error) {
    // The original format leaves the vocabulary's size to the weights.
    if (typeof config === "object" && config !== null && "vocab_size" in config) throw error;
    return (await openCheckpoint(dirname(configFile))).config;
  }
}

/** A gateway needs no weights: whatever is wrong with them is for the workers to say. */
async function fingerprintOf(root: string): Promise<string | undefined> {
  return openCheckpoint(root).then(
    ({ fingerprint }) => fingerprint,
    () => undefined,
  );
}

/** A cache of the Hugging Face hub names each folder by the commit that it holds. */
async function revisionOf(root: string): Promise<string | undefined> {
  return /[\\/]snapshots[\\/]([0-9a-f]{40})(?:[\\/]|$)/.exec(await realpath(root))?.[1];
}

/**
 * Reads config.json and, where there are any, tokenizer.json and the heads of the weights.
 * @throws AppError NOT_FOUND or INVALID_ARGUMENT.
 */
export async function openServedModel(directory: string, name: string | undefined): Promise<ServedModel> {
  const root = resolve(directory);
  const configFile = await firstExisting([join(root, "config.json"), join(root, "original", "config.json")]);
  if (configFile === undefined) throw new AppError("NOT_FOUND", `${root} is not a checkpoint: it has no config.json`);
  const folder = dirname(configFile);
  const places = basename(folder) === "original" ? [folder, dirname(folder)] : [folder];
  const tokenizerFile = await firstExisting(places.map((place) => join(place, "tokenizer.json")));
  const generationFile = await firstExisting(places.map((place) => join(place, "generation_config.json")));
  const config = await readConfig(configFile, generationFile);
  const tokenizer = tokenizerFile === undefined ? undefined : await openTokenizer(tokenizerFile);
  const created = (await stat(configFile)).mtimeMs;
  const fingerprint = await fingerprintOf(root);
  const described = describeModel({ name: name ?? basename(root), createdAtS: Math.floor(created / 1_000), config, tokenizer });
  const revision = await revisionOf(root);
  return {
    ...described,
    ...(fingerprint === undefined ? {} : { fingerprint }),
    ...(revision === undefined ? {} : { revision }),
  };
}

function describeModel(parts: {
  readonly name: string;
  readonly createdAtS: number;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer | undefined;
}): ServedModel {
  const { tokenizer, ...rest } = parts;
  const special = tokenizer?.specialTokens;
  const harmony = special !== undefined && SPECIAL_TOKENS.every((token) => special.has(token));
  const eosTokenIds = rest.config.eosTokenIds;
  const stops = harmony ? STOP_TOKENS.flatMap((token) => special.get(token) ?? []) : [];
  return {
    ...rest,
    ...(tokenizer ? { tokenizer } : {}),
    harmony,
    eosTokenIds,
    chatStopTokenIds: [...new Set([...eosTokenIds, ...stops])],
  };
}
