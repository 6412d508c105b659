import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AppError } from "@moiety/core";
import { z } from "zod";
import type { EvaluationCase } from "./evaluate.js";

const ids = z.array(z.int().min(0)).max(1 << 20);
const caseSchema = z.object({
  name: z.string().regex(/^[A-Za-z0-9._-]{1,100}$/, "must be 1 to 100 characters of A-Z a-z 0-9 . _ -"),
  checkpoint: z.string().optional(),
  tokens: ids.min(1),
  greedy: ids.optional(),
  forced: ids.optional(),
  probe_ids: ids.optional(),
});

/** A case of a file, and the name of the checkpoint that it is for, if it has one. */
export interface NamedCase extends EvaluationCase {
  readonly checkpoint?: string;
}

/**
 * Reads cases in the format of packages/testing/fixtures/golden/cases.json. `forced` is what is fed in, `greedy` if there is no such
 * field. Without `probe_ids`, those of golden/NAME.safetensors beside the file are taken.
 * @throws AppError NOT_FOUND or INVALID_ARGUMENT, naming the case and field.
 */
export async function readCases(file: string): Promise<NamedCase[]> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new AppError("NOT_FOUND", `${file} cannot be read`, { cause });
  });
  const parsed = z.array(caseSchema).safeParse(parseJson(file, text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new AppError("INVALID_ARGUMENT", `${file}: ${issue?.path.join(".") ?? "cases"}: ${issue?.message ?? "wrong"}`);
  }
  return Promise.all(
    parsed.data.map(async ({ name, checkpoint, tokens, greedy, forced = greedy, probe_ids }) => {
      const probeIds = probe_ids ?? (await goldenProbeIds(join(dirname(file), "golden", `${name}.safetensors`)));
      return {
        name,
        tokens,
        ...(checkpoint === undefined ? {} : { checkpoint }),
        ...(forced === undefined ? {} : { forced }),
        ...(probeIds === undefined ? {} : { probeIds }),
      };
    }),
  );
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError("INVALID_ARGUMENT", `${file} is not JSON`, { cause });
  }
}

const goldenHeader = z.looseObject({
  probe_ids: z.object({ dtype: z.literal("I32"), data_offsets: z.tuple([z.int().min(0), z.int().min(0)]) }).optional(),
});

/** The I32 tensor `probe_ids` of a small safetensors file: length of the header (u64), header (JSON), data. */
async function goldenProbeIds(file: string): Promise<number[] | undefined> {
  if (!existsSync(file)) return undefined;
  const bytes = await readFile(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = goldenHeader.parse(parseJson(file, bytes.subarray(8, 8 + headerBytes).toString()));
  if (header.probe_ids === undefined) return undefined;
  const [start, end] = header.probe_ids.data_offsets;
  const data = bytes.subarray(8 + headerBytes + start, 8 + headerBytes + end);
  return Array.from({ length: data.length / 4 }, (_, index) => data.readInt32LE(index * 4));
}
