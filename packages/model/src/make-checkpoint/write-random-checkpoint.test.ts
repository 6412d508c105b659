import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { bf16ToF32 } from "../mxfp4/bf16.js";
import { dequantiseMxfp4 } from "../mxfp4/mxfp4-format.js";
import type { ExpertWeightRefs, TensorRef } from "../tensor-ref.js";
import { openTokenizer } from "../tokenizer/open-tokenizer.js";
import { type RandomCheckpointOptions, writeRandomCheckpoint } from "./write-random-checkpoint.js";

let root = "";
let made = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "moiety-make-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function make(options: Omit<RandomCheckpointOptions, "out"> = {}) {
  made += 1;
  const { directory } = await writeRandomCheckpoint({ out: join(root, String(made)), ...options });
  return openCheckpoint(directory);
}

function bytesOf({ file, offsetBytes, lengthBytes }: TensorRef): Buffer {
  return readFileSync(file).subarray(offsetBytes, offsetBytes + lengthBytes);
}

/** `[out, in]` values, whichever way they are stored. */
function weightsOf(weight: ExpertWeightRefs): Float32Array {
  if (weight.kind === "mxfp4") return dequantiseMxfp4({ blocks: bytesOf(weight.blocks), scales: bytesOf(weight.scales) });
  const [inner = 0, out = 0] = weight.weight.shape;
  const values = bf16ToF32(bytesOf(weight.weight));
  return Float32Array.from({ length: inner * out }, (_, i) => values[(i % inner) * out + Math.floor(i / inner)] ?? Number.NaN);
}

function statistics(values: Float32Array) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, std: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
}

const ODD = {
  layers: 3,
  hiddenSize: 96,
  intermediateSize: 160,
  experts: 5,
  expertsPerToken: 3,
  queryHeads: 6,
  kvHeads: 3,
  vocabSize: 301,
};

describe("writeRandomCheckpoint", () => {
  it("makes a tiny checkpoint that opens without a warning", async () => {
    const checkpoint = await make();
    expect(checkpoint.warnings).toEqual([]);
    expect(checkpoint.hasTokenizer).toBe(true);
    expect(checkpoint.config).toMatchObject({ layers: 4, hiddenSize: 128, experts: 16, vocabSize: 1024, maxContext: 131_072 });
  });

  it("gives the same bytes for the same seed, and others for another", async () => {
    const [first, again, other] = [await make({ seed: 7 }), await make({ seed: 7 }), await make({ seed: 8 })];
    const read = (checkpoint: typeof first) => readFileSync(checkpoint.files[0] ?? "");
    expect(read(again).equals(read(first))).toBe(true);
    expect(again.fingerprint).toBe(first.fingerprint);
    expect(other.fingerprint).not.toBe(first.fingerprint);
  });

  it("gives the same weights in both layouts, packed or not, in one file or many", async () => {
    const [packed, ...others] = [
      await make({ shape: ODD }),
      await make({ shape: ODD, layout: "original" }),
      await make({ shape: ODD, quantised: false }),
      await make({ shape: ODD, maxShardBytes: 50_000 }),
      await make({ shape: ODD, layout: "original", maxShardBytes: 50_000 }),
    ];
    const layer = packed.attentionRefs().layers[2];
    const expert = packed.expertRefs(2, 4);
    for (const other of others) {
      const otherLayer = other.attentionRefs().layers[2];
      for (const which of ["query", "key", "value", "output", "router"] as const) {
        for (const kind of ["weight", "bias"] as const) {
          const [a, b] = [layer?.[which][kind], otherLayer?.[which][kind]];
          if (a === undefined || b === undefined) throw new Error("no such layer");
          expect(b.shape).toEqual(a.shape);
          expect(bytesOf(b).equals(bytesOf(a))).toBe(true);
        }
      }
      const otherExpert = other.expertRefs(2, 4);
      expect(weightsOf(otherExpert.gateUp)).toEqual(weightsOf(expert.gateUp));
      expect(weightsOf(otherExpert.down)).toEqual(weightsOf(expert.down));
      expect(bytesOf(otherExpert.gateUpBias).equals(bytesOf(expert.gateUpBias))).toBe(true);
      expect(other.config).toEqual(packed.config);
    }
  });

  it("numbers several files from 0 and indexes them", async () => {
    const checkpoint = await make({ maxShardBytes: 1_000_000 });
    expect(checkpoint.files.length).toBeGreaterThan(2);
    const last = String(checkpoint.files.length - 1).padStart(5, "0");
    expect(checkpoint.files[0]).toMatch(new RegExp(`model-00000-of-${last}\\.safetensors$`));
    expect(checkpoint.files.at(-1)).toMatch(new RegExp(`model-${last}-of-${last}\\.safetensors$`));
  });

  it("keeps weights at the scale that activations need", async () => {
    const checkpoint = await make({ shape: { layers: 1, hiddenSize: 256, vocabSize: 2048 } });
    const refs = checkpoint.attentionRefs();
    expect(statistics(bf16ToF32(bytesOf(refs.embedding))).std).toBeCloseTo(1, 1);
    expect(statistics(bf16ToF32(bytesOf(refs.finalNorm))).mean).toBeCloseTo(1, 1);
    expect(statistics(bf16ToF32(bytesOf(refs.unembedding))).std * Math.sqrt(256)).toBeCloseTo(2, 1);
    const { std } = statistics(weightsOf(checkpoint.expertRefs(0, 3).gateUp));
    expect(std * Math.sqrt(256)).toBeGreaterThan(0.6);
    expect(std * Math.sqrt(256)).toBeLessThan(1.6);
  });

  it("writes a tokenizer of exactly the vocabulary, whose last tokens are the stops", async () => {
    const checkpoint = await make({ shape: { vocabSize: 5000, layers: 1 }, layout: "original" });
    const tokenizer = await openTokenizer(checkpoint.tokenizerFile ?? "");
    expect(tokenizer.vocabSize).toBe(5000);
    expect(checkpoint.config.eosTokenIds).toEqual([tokenizer.idOf("<|return|>"), tokenizer.idOf("<|call|>")]);
    expect(checkpoint.config.padTokenId).toBe(tokenizer.idOf("<|endoftext|>"));
  });

  it("can do without a tokenizer", async () => {
    const checkpoint = await make({ tokenizer: "none", shape: { vocabSize: 33, layers: 1 } });
    expect(checkpoint.hasTokenizer).toBe(false);
    expect(checkpoint.config.eosTokenIds).toEqual([]);
  });

  it("says how far it is", async () => {
    const seen: number[] = [];
    let total = 0;
    await make({
      onProgress: ({ writtenBytes, totalBytes }) => {
        seen.push(writtenBytes);
        total = totalBytes;
      },
    });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(total);
  });

  it("leaves nothing behind when it is cancelled", async () => {
    const controller = new AbortController();
    const out = join(root, "cancelled");
    const writing = writeRandomCheckpoint({ out, signal: controller.signal, onProgress: () => controller.abort() });
    await expect(writing).rejects.toMatchObject({ code: "CANCELLED" });
    expect(existsSync(out)).toBe(false);
  });

  it("does not touch a directory that has something in it", async () => {
    const out = join(root, "taken");
    await mkdir(out);
    await writeFile(join(out, "notes.txt"), "keep");
    await expect(writeRandomCheckpoint({ out })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    expect(readdirSync(out)).toEqual(["notes.txt"]);
  });

  it.each([
    ["a vocabulary too small for bytes", { shape: { vocabSize: 100 } }, /vocab/],
    ["a width that MXFP4 cannot pack", { shape: { hiddenSize: 100 } }, /hiddenSize: expected a multiple of 32/],
    ["more experts per token than experts", { shape: { experts: 2 } }, /num_experts_per_tok/],
    ["heads that do not divide", { shape: { queryHeads: 7 } }, /num_attention_heads/],
    ["a size that is no integer", { shape: { layers: 1.5 } }, /num_hidden_layers/],
    ["a seed that is no integer", { seed: -1 }, /seed/],
    ["unpacked experts in the original layout", { layout: "original", quantised: false }, /quantised/],
    ["no bytes per file", { maxShardBytes: 0 }, /maxShardBytes/],
  ] as const)("refuses %s", async (_name, options, message) => {
    const out = join(root, "refused");
    await expect(writeRandomCheckpoint({ out, ...options })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
    expect(existsSync(out)).toBe(false);
  });
});
