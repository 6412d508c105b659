import { cp, mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "@moiety/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeSafetensorsHeader } from "../make-checkpoint/safetensors-writer.js";
import { writeRandomCheckpoint } from "../make-checkpoint/write-random-checkpoint.js";
import type { Checkpoint } from "./checkpoint.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { type PlannedTensor, planCheckpoint, plannedBytes, plannedTensors } from "./tensor-plan.js";

const golden = (name: string) => fileURLToPath(new URL(`../../../testing/fixtures/golden/ckpt/${name}`, import.meta.url));

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "moiety-damaged-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function copyOf(name: string): Promise<string> {
  const directory = await mkdtemp(join(root, name));
  await cp(golden(name), directory, { recursive: true });
  return directory;
}

/** Everything that a reader takes from a checkpoint's headers. */
function references(checkpoint: Checkpoint): unknown {
  const { layers, experts } = checkpoint.config;
  const expertRefs = Array.from({ length: layers * experts }, (_, i) =>
    checkpoint.expertRefs(Math.floor(i / experts), i % experts),
  );
  return { config: checkpoint.config, attention: checkpoint.attentionRefs(), expertRefs };
}

/** Opens to `expected`, or rejects with an AppError; anything else is a bug. */
async function expectSameOrRefused(directory: string, expected: unknown): Promise<"opened" | "refused"> {
  try {
    expect(references(await openCheckpoint(directory))).toEqual(expected);
    return "opened";
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return "refused";
  }
}

describe("openCheckpoint on damaged copies", () => {
  it.each(["A", "A-sharded", "A-bf16", "B"])("refuses %s cut short anywhere", async (name) => {
    const directory = await copyOf(name);
    const file = (await openCheckpoint(directory)).files.at(-1) ?? "";
    const bytes = await readFile(file);
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.nat(bytes.length - 1), fc.nat(4000)), async (length) => {
        await writeFile(file, bytes);
        await truncate(file, Math.min(length, bytes.length - 1));
        expect(await expectSameOrRefused(directory, undefined)).toBe("refused");
      }),
      { numRuns: 60 },
    );
  });

  it.each(["A", "A-sharded"])("opens %s with a flipped bit to the same tensors, or refuses it", async (name) => {
    const directory = await copyOf(name);
    const checkpoint = await openCheckpoint(directory);
    const expected = references(checkpoint);
    const file = checkpoint.files[0] ?? "";
    const bytes = await readFile(file);
    const headerBytes = 8 + Number(bytes.readBigUInt64LE(0));
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof({ weight: 4, arbitrary: fc.nat(headerBytes - 1) }, fc.nat(bytes.length - 1)),
        fc.nat(7),
        async (at, bit) => {
          const damaged = Buffer.from(bytes);
          damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
          await writeFile(file, damaged);
          seen.add(await expectSameOrRefused(directory, expected));
        },
      ),
      { numRuns: 300 },
    );
    expect([...seen].sort()).toEqual(["opened", "refused"]);
  });

  it("survives any damage to the index", async () => {
    const directory = await copyOf("A-sharded");
    const expected = references(await openCheckpoint(directory));
    const file = join(directory, "model.safetensors.index.json");
    const bytes = await readFile(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), fc.boolean(), async (at, bit, cut) => {
        const damaged = Buffer.from(cut ? bytes.subarray(0, at) : bytes);
        if (!cut) damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
        await writeFile(file, damaged);
        await expectSameOrRefused(directory, expected);
      }),
      { numRuns: 200 },
    );
  });

  it("gives an AppError or a checkpoint for any damage to config.json", async () => {
    const directory = await copyOf("B");
    const file = join(directory, "config.json");
    const bytes = await readFile(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }), async (at, byte) => {
        const damaged = Buffer.from(bytes);
        damaged[at] = byte;
        await writeFile(file, damaged);
        await openCheckpoint(directory).catch((error: unknown) => expect(error).toBeInstanceOf(AppError));
      }),
      { numRuns: 200 },
    );
  });
});

describe("openCheckpoint on tensors that do not fit", () => {
  async function withTensors(change: (tensors: readonly PlannedTensor[]) => readonly PlannedTensor[]): Promise<string> {
    const directory = await copyOf("A");
    const { config } = await openCheckpoint(directory);
    const tensors = change(plannedTensors(planCheckpoint({ config, layout: "huggingface", experts: "mxfp4" })));
    const data = Buffer.alloc(tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), 0));
    await writeFile(join(directory, "model.safetensors"), Buffer.concat([encodeSafetensorsHeader(tensors), data]));
    return directory;
  }

  const changed = (name: string, fields: Partial<PlannedTensor>) => (tensors: readonly PlannedTensor[]) =>
    tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...fields } : tensor));

  it("opens what the plan says", async () => {
    expect((await openCheckpoint(await withTensors((tensors) => tensors))).warnings).toEqual([]);
  });

  it("lists tensors that the architecture does not have", async () => {
    const extra: PlannedTensor = { name: "model.vision.weight", role: "norm", dtype: "bf16", shape: [3] };
    const checkpoint = await openCheckpoint(await withTensors((tensors) => [...tensors, extra]));
    expect(checkpoint.unexpectedTensors).toEqual(["model.vision.weight"]);
    expect(checkpoint.warnings).toEqual([expect.stringMatching(/1 tensors are not part of the architecture/)]);
  });

  const sinks = "model.layers.1.self_attn.sinks";
  const rename = (from: string, to: string) => changed(from, { name: to });
  it.each([
    [
      "a missing tensor",
      rename(sinks, "model.layers.1.self_attn.sink"),
      /tensor .*1\.self_attn\.sinks is missing; expected BF16 \[4\]/,
    ],
    ["another shape", changed(sinks, { shape: [5] }), /sinks: expected BF16 \[4\], as config\.json says, found BF16 \[5\]/],
    ["another dtype", changed(sinks, { dtype: "f32" }), /sinks: expected BF16 \[4\], .* found F32 \[4\]/],
    [
      "swapped axes",
      changed("model.layers.0.self_attn.q_proj.weight", { shape: [64, 256] }),
      /expected BF16 \[256, 64\], .* found BF16 \[64, 256\]/,
    ],
    [
      "neither layout",
      rename("model.embed_tokens.weight", "wte.weight"),
      /no tensor model\.embed_tokens\.weight or embedding\.weight/,
    ],
    ["both layouts", rename(sinks, "embedding.weight"), /found both/],
    [
      "no experts",
      rename("model.layers.0.mlp.experts.gate_up_proj_blocks", "x"),
      /expected .*gate_up_proj_blocks or .*gate_up_proj/,
    ],
    ["experts twice", rename(sinks, "model.layers.0.mlp.experts.gate_up_proj"), /found both/],
  ])("refuses %s", async (_name, change, message) => {
    const directory = await withTensors(change);
    await expect(openCheckpoint(directory)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });
});

describe("openCheckpoint on folders", () => {
  it("opens a release's original/ folder, with the files one level up, by either path", async () => {
    const release = join(root, "release");
    await writeRandomCheckpoint({ out: release, layout: "original" });
    const original = join(release, "original");
    await mkdir(original);
    for (const name of ["config.json", "model.safetensors"]) await rename(join(release, name), join(original, name));
    const [outer, inner] = await Promise.all([openCheckpoint(release), openCheckpoint(original)]);
    expect(inner.fingerprint).toBe(outer.fingerprint);
    expect(inner.directory).toBe(original);
    expect(inner.tokenizerFile).toBe(join(release, "tokenizer.json"));
    expect(inner.config.eosTokenIds).toHaveLength(2);
    expect(inner.warnings).toEqual([]);
  });

  it("says that a directory is not there or is no checkpoint", async () => {
    await expect(openCheckpoint(join(root, "nowhere"))).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/nowhere/),
    });
    await expect(openCheckpoint(root)).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/no config\.json/),
    });
  });
});
