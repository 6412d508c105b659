import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "@moiety/core";
import { z } from "zod";
import { parseFile } from "../config/config-fault.js";
import { fromFileError } from "../json/file-error.js";
import { readJsonFile } from "../json/read-json-file.js";
import { readSafetensorsHeader } from "./read-safetensors.js";
import { headerFault, type SafetensorsTensor } from "./safetensors-header.js";

export interface LocatedTensor extends SafetensorsTensor {
  /** Absolute path of the file that holds it. */
  readonly path: string;
}

/** All tensors of a checkpoint, over all its files. */
export interface SafetensorsSet {
  readonly tensors: ReadonlyMap<string, LocatedTensor>;
  /** Absolute paths, in the order of their names. */
  readonly files: readonly string[];
  /** Absolute path of the index that named the files; undefined: there is none, or it is ignored. */
  readonly indexFile: string | undefined;
  readonly warnings: readonly string[];
}

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const MAX_INDEX_BYTES = 64 * 1024 * 1024;
const MAX_FILES = 4096;

const fileName = z
  .string("expected a file's name")
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.safetensors$/, "expected the plain name of a .safetensors file beside the index");

const indexSchema = z.looseObject(
  {
    metadata: z.looseObject({ total_size: z.number().optional() }, "expected an object").optional(),
    weight_map: z.record(z.string(), fileName, "expected an object of tensor names and files"),
  },
  "expected an object",
);

/**
 * Reads the headers of `model.safetensors`, or of the files that `model.safetensors.index.json` names, or else of every
 * `*.safetensors` in the directory. NOT_FOUND if there is none; INVALID_ARGUMENT naming file and tensor for every other fault.
 */
export async function readSafetensorsSet(directory: string): Promise<SafetensorsSet> {
  const names = await listSafetensors(directory);
  if (names.has(SINGLE)) {
    const set = await readFiles(directory, [SINGLE]);
    return names.has(INDEX) ? { ...set, warnings: [`${INDEX} is ignored: ${SINGLE} is there too`] } : set;
  }
  if (names.has(INDEX)) return readIndexed(directory);
  if (names.size > 0) return readFiles(directory, [...names]);
  throw new AppError("NOT_FOUND", `${directory} has neither ${SINGLE} nor ${INDEX}`, { details: { directory } });
}

async function listSafetensors(directory: string): Promise<ReadonlySet<string>> {
  try {
    const names = await readdir(directory);
    return new Set(names.filter((name) => name.endsWith(".safetensors") || name === INDEX).sort());
  } catch (error) {
    throw fromFileError(error, directory);
  }
}

async function readFiles(directory: string, names: readonly string[]): Promise<SafetensorsSet> {
  if (names.length > MAX_FILES) {
    throw new AppError("INVALID_ARGUMENT", `${directory}: ${names.length} safetensors files, expected at most ${MAX_FILES}`);
  }
  const tensors = new Map<string, LocatedTensor>();
  for (const name of names) {
    const path = join(directory, name);
    for (const tensor of (await readSafetensorsHeader(path)).tensors) {
      if (tensors.has(tensor.name)) throw headerFault(name, tensor.name, "another file of the checkpoint has it too");
      tensors.set(tensor.name, { ...tensor, path });
    }
  }
  return { tensors, files: names.map((name) => join(directory, name)), indexFile: undefined, warnings: [] };
}

async function readIndexed(directory: string): Promise<SafetensorsSet> {
  const json = await readJsonFile(join(directory, INDEX), { maxBytes: MAX_INDEX_BYTES, maxDepth: 8 });
  const { weight_map: weightMap, metadata } = parseFile(indexSchema, json, INDEX);
  const names = [...new Set(Object.values(weightMap))].sort();
  const set = await readFiles(directory, names);
  for (const [tensor, name] of Object.entries(weightMap)) {
    if (set.tensors.get(tensor)?.path !== join(directory, name)) throw headerFault(INDEX, tensor, `${name} does not have it`);
  }
  return { ...set, indexFile: join(directory, INDEX), warnings: sizeWarnings(set.tensors, metadata?.total_size, weightMap) };
}

function sizeWarnings(
  tensors: ReadonlyMap<string, LocatedTensor>,
  totalSize: number | undefined,
  weightMap: Readonly<Record<string, string>>,
): string[] {
  const warnings: string[] = [];
  const bytes = [...tensors.values()].reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
  if (totalSize !== undefined && totalSize !== bytes) {
    warnings.push(`${INDEX}: metadata.total_size is ${totalSize}, but the tensors have ${bytes} bytes`);
  }
  const unlisted = [...tensors.keys()].filter((name) => !Object.hasOwn(weightMap, name));
  if (unlisted.length > 0)
    warnings.push(`${INDEX} does not list ${unlisted.length} tensors of its files, such as ${unlisted[0]}`);
  return warnings;
}
