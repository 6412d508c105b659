import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { fromFileError } from "../json/file-error.js";
import type { ModelConfig } from "../model-config.js";
import type { TensorRef } from "../tensor-ref.js";

/** Read from the middle of every tensor, so that two fine-tunes of one shape are told apart. */
const SAMPLE_BYTES = 256;

/**
 * sha256 over the config in canonical form and each tensor's name, dtype, shape and a sample of its bytes, as hex. The same for the
 * same tensors however they are spread over files. It tells checkpoints apart; it does not prove that no byte is damaged.
 */
export async function fingerprintOf(config: ModelConfig, refs: Iterable<TensorRef>): Promise<string> {
  const sorted = [...refs].sort((a, b) => (a.name < b.name ? -1 : 1));
  const samples = await readSamples(sorted);
  const hash = createHash("sha256").update(canonicalJson(config));
  for (const ref of sorted) {
    hash.update(`\n${JSON.stringify([ref.name, ref.dtype, ref.shape])}\n`);
    hash.update(samples.get(ref.name) ?? Buffer.alloc(0));
  }
  return hash.digest("hex");
}

async function readSamples(refs: readonly TensorRef[]): Promise<ReadonlyMap<string, Buffer>> {
  const samples = new Map<string, Buffer>();
  for (const [file, tensors] of groupByFile(refs)) {
    for (const [name, sample] of await readSamplesOf(file, tensors)) samples.set(name, sample);
  }
  return samples;
}

function groupByFile(refs: readonly TensorRef[]): Map<string, TensorRef[]> {
  const groups = new Map<string, TensorRef[]>();
  for (const ref of refs) groups.set(ref.file, [...(groups.get(ref.file) ?? []), ref]);
  return groups;
}

async function readSamplesOf(file: string, refs: readonly TensorRef[]): Promise<[string, Buffer][]> {
  try {
    const handle = await open(file, "r");
    try {
      const read = async (ref: TensorRef): Promise<[string, Buffer]> => {
        const length = Math.min(SAMPLE_BYTES, ref.lengthBytes);
        const offset = ref.offsetBytes + Math.floor((ref.lengthBytes - length) / 2);
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, offset);
        return [ref.name, buffer.subarray(0, bytesRead)];
      };
      return await Promise.all(refs.map(read));
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromFileError(error, file);
  }
}

/** JSON with the names of every object in order; undefined is left out. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
