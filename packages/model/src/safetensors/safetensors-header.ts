import { AppError } from "@moiety/core";
import { z } from "zod";
import { preview } from "../config/config-fault.js";
import { parseStrictJson } from "../json/strict-json.js";
import { SAFETENSORS_DTYPE_BITS } from "./safetensors-dtype.js";

/** One tensor of a safetensors file. */
export interface SafetensorsTensor {
  readonly name: string;
  /** As the file spells it: `BF16`, `U8`, ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface SafetensorsHeader {
  /** In the order of their data. */
  readonly tensors: readonly SafetensorsTensor[];
  readonly metadata: Readonly<Record<string, string>>;
}

export interface HeaderText {
  /** Named in errors. */
  readonly file: string;
  readonly text: string;
  /** First byte of the data, from the start of the file. */
  readonly dataStartBytes: number;
  /** Bytes after the header. */
  readonly dataBytes: number;
}

const MAX_RANK = 16;

const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(z.int().min(0)).max(MAX_RANK),
  data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});
const metadataSchema = z.record(z.string(), z.string());

/**
 * Checks every field of a header: dtypes, shapes, that each tensor's bytes are as many as its shape needs and lie inside the file,
 * and that together they cover the data once, without overlap or hole. Throws INVALID_ARGUMENT naming file and tensor.
 */
export function parseSafetensorsHeader({ file, text, dataStartBytes, dataBytes }: HeaderText): SafetensorsHeader {
  const json = parseStrictJson(text, { file, maxDepth: 8 });
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw headerFault(file, undefined, `the header is ${preview(json)}, expected an object`);
  }
  const { __metadata__: rawMetadata, ...entries } = json as Record<string, unknown>;
  const metadata = metadataSchema.safeParse(rawMetadata ?? {});
  if (!metadata.success) throw headerFault(file, "__metadata__", "expected an object of strings");
  const tensors = Object.entries(entries).map(([name, entry]) => parseEntry({ file, name, entry, dataStartBytes, dataBytes }));
  tensors.sort((a, b) => a.offsetBytes - b.offsetBytes || a.lengthBytes - b.lengthBytes);
  checkCoverage(tensors, { file, dataStartBytes, dataBytes });
  return { tensors, metadata: metadata.data };
}

interface EntrySource {
  readonly file: string;
  readonly name: string;
  readonly entry: unknown;
  readonly dataStartBytes: number;
  readonly dataBytes: number;
}

function parseEntry({ file, name, entry, dataStartBytes, dataBytes }: EntrySource): SafetensorsTensor {
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw headerFault(file, name, `${issue?.path.map(String).join(".") ?? ""}: ${issue?.message ?? "malformed"}`);
  }
  const { dtype, shape, data_offsets } = parsed.data;
  const [begin, end] = data_offsets;
  const bits = SAFETENSORS_DTYPE_BITS.get(dtype);
  if (bits === undefined) throw headerFault(file, name, `unknown dtype ${preview(dtype)}`);
  if (begin > end) throw headerFault(file, name, `data_offsets [${begin}, ${end}] run backwards`);
  if (end > dataBytes) throw headerFault(file, name, `data_offsets end at ${end}, but the file has ${dataBytes} bytes of data`);
  const neededBits = shape.reduce((product, size) => product * BigInt(size), BigInt(bits));
  if (neededBits !== BigInt(end - begin) * 8n) {
    throw headerFault(file, name, `shape [${shape.join(", ")}] of ${dtype} does not fill its ${end - begin} bytes exactly`);
  }
  return { name, dtype, shape, offsetBytes: dataStartBytes + begin, lengthBytes: end - begin };
}

function checkCoverage(tensors: readonly SafetensorsTensor[], source: Omit<HeaderText, "text">): void {
  const { file, dataStartBytes, dataBytes } = source;
  let next = dataStartBytes;
  for (const tensor of tensors) {
    if (tensor.offsetBytes < next) throw headerFault(file, tensor.name, "its bytes overlap another tensor's");
    if (tensor.offsetBytes > next)
      throw headerFault(file, tensor.name, `${tensor.offsetBytes - next} bytes before it belong to no tensor`);
    next += tensor.lengthBytes;
  }
  const left = dataStartBytes + dataBytes - next;
  if (left !== 0) throw headerFault(file, undefined, `${left} bytes at its end belong to no tensor`);
}

/** INVALID_ARGUMENT about a safetensors file, and about one tensor of it where there is one. */
export function headerFault(file: string, tensor: string | undefined, problem: string): AppError {
  const name = tensor?.slice(0, 200);
  return new AppError("INVALID_ARGUMENT", name === undefined ? `${file}: ${problem}` : `${file}: tensor ${name}: ${problem}`, {
    details: name === undefined ? { file } : { file, tensor: name },
  });
}
