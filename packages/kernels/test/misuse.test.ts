import { execFile } from "node:child_process";
import { copyFile, mkdtemp, open, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Checkpoint, openCheckpoint, type TensorRef } from "@moiety/model";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ExpertCall, type Kernels, openKernels } from "../src/index.js";
import { openPrimitives } from "../src/primitives.js";
import { GOLDEN } from "./safetensors.js";

const ADDON = fileURLToPath(new URL("../build/moiety_kernels.node", import.meta.url));
const KV = { pageTokens: 8, fullPages: 4, slidingPages: 4 };

let kernels: Kernels;
let checkpoint: Checkpoint;
let folder: string;
beforeAll(async () => {
  kernels = openKernels({ threads: 2 });
  checkpoint = await openCheckpoint(`${GOLDEN}ckpt/A`);
  folder = await mkdtemp(join(tmpdir(), "moiety-misuse-"));
});
afterAll(async () => {
  await kernels.close();
  await rm(folder, { recursive: true, force: true });
});

function openAttention() {
  return kernels.createAttentionEngine({
    config: checkpoint.config,
    refs: checkpoint.attentionRefs(),
    activation: "f32",
    kv: KV,
  });
}

describe("an attention engine", () => {
  const rows = { rowStart: 0, rowCount: 1, positionStart: 0, slidingFirstBlock: 0 };
  const sequence = { ...rows, fullPages: Int32Array.of(0), slidingPages: Int32Array.of(0) };

  it("refuses a batch of a closed engine, wherever the new one lies in memory", async () => {
    const engine = await openAttention();
    const batch = engine.createBatch({ tokens: Int32Array.of(1), sequences: [sequence] });
    // Enough of them that the allocator hands out the memory of the first again.
    const closed = await Promise.all(Array.from({ length: 16 }, openAttention));
    for (const other of [...closed, engine]) other.close();
    await kernels.createExpertEngine({ config: checkpoint.config, activation: "f32" }).load(checkpoint.expertRefs(0, 0));
    const others = await Promise.all(Array.from({ length: 16 }, openAttention));
    for (const other of others) {
      await expect(other.attend(batch, 0)).rejects.toMatchObject({ message: "batch: it belongs to another engine" });
      other.close();
    }
  });

  it("refuses KV pools whose size does not fit 64 bits", async () => {
    const file = join(folder, "zeros");
    await (await open(file, "w")).close();
    await truncate(file, 2 ** 26);
    const { config } = checkpoint;
    const wide = { ...config, layers: 1, attention: ["full"] as const, hiddenSize: 1, headDim: 4096 };
    const shape = { ...wide, kvHeads: 4096, queryHeads: 4096, vocabSize: 2, experts: 1, expertsPerToken: 1 };
    const tensor = (...sizes: number[]): TensorRef => {
      const lengthBytes = sizes.reduce((product, size) => product * size, 2);
      return { file, name: "zeros", dtype: "bf16", shape: sizes, offsetBytes: 0, lengthBytes };
    };
    const width = 2 ** 24;
    const across = { weight: tensor(width, 1), bias: tensor(width) };
    const refs = {
      embedding: tensor(2, 1),
      finalNorm: tensor(1),
      unembedding: tensor(2, 1),
      layers: [
        {
          attentionNorm: tensor(1),
          query: across,
          key: across,
          value: across,
          output: { weight: tensor(1, width), bias: tensor(1) },
          sinks: tensor(4096),
          mlpNorm: tensor(1),
          router: { weight: tensor(1, 1), bias: tensor(1) },
        },
      ],
    };
    // 2^24 elements of 4 bytes in 2^16 positions in 2^22 pages: 2^64 bytes, 0 in 64 bits.
    const kv = { pageTokens: 2 ** 16, fullPages: 2 ** 22, slidingPages: 0 };
    await expect(kernels.createAttentionEngine({ config: shape, refs, activation: "f32", kv })).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining("beyond any memory"),
    });
  });

  it("refuses more logits at once than an array may have", async () => {
    const engine = await openAttention();
    const batch = engine.createBatch({ tokens: Int32Array.of(1), sequences: [sequence] });
    await expect(engine.logits(batch, new Int32Array(2 ** 30 / 512 + 1))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("at most 2097152 rows"),
    });
    engine.close();
  });
});

describe("an expert engine", () => {
  it("refuses an output too many", async () => {
    const experts = kernels.createExpertEngine({ config: checkpoint.config, activation: "f32" });
    await experts.load(checkpoint.expertRefs(0, 0));
    const bytes = checkpoint.config.hiddenSize * 4;
    const call: ExpertCall = {
      layer: 0,
      inputs: [new Uint8Array(bytes)],
      pairs: { input: Uint16Array.of(0), row: Uint32Array.of(0), expert: Uint16Array.of(0) },
      outputs: [new Uint8Array(bytes), new Uint8Array(bytes)],
    };
    await expect(experts.run(call)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("refuses an expert whose file was cut after it was mapped, instead of ending the process", async () => {
    const experts = kernels.createExpertEngine({ config: checkpoint.config, activation: "f32" });
    const { config } = checkpoint;
    const refs = checkpoint.expertRefs(config.layers - 1, config.experts - 1);
    if (refs.gateUp.kind !== "mxfp4" || refs.down.kind !== "mxfp4") throw new Error("a packed checkpoint was expected");
    const original = refs.gateUp.blocks.file;
    const file = join(folder, "cut.safetensors");
    await copyFile(original, file);
    const moved = (tensor: TensorRef): TensorRef => (tensor.file === original ? { ...tensor, file } : tensor);
    const copied = {
      ...refs,
      gateUp: { ...refs.gateUp, blocks: moved(refs.gateUp.blocks), scales: moved(refs.gateUp.scales) },
      gateUpBias: moved(refs.gateUpBias),
      down: { ...refs.down, blocks: moved(refs.down.blocks), scales: moved(refs.down.scales) },
      downBias: moved(refs.downBias),
    };
    await experts.load(copied);
    await truncate(file, 4096);
    await expect(experts.load(copied)).rejects.toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringContaining(`of ${file} cannot be read`),
    });
  });
});

describe("a primitive", () => {
  const primitives = () => openPrimitives("scalar");
  const f32 = (count: number) => new Float32Array(count);

  it.each<[string, () => unknown]>([
    ["in: an integer of 1", () => primitives().linearBf16({ x: f32(1), weight: f32(0), in: 0, out: 1 })],
    ["bias has 1 elements; 2", () => primitives().linearBf16({ x: f32(1), weight: f32(2), bias: f32(1), in: 1, out: 2 })],
    ["x has 3 elements", () => primitives().linearBf16({ x: f32(3), weight: f32(2), in: 2, out: 1 })],
    [
      "in must be a multiple of 32",
      () => primitives().linearMxfp4({ x: f32(16), blocks: new Uint8Array(8), scales: new Uint8Array(0), in: 16, out: 1 }),
    ],
    ["headDim must be even", () => primitives().rope({ heads: f32(3), headDim: 3, cos: f32(1), sin: f32(1) })],
    ["headDim: an integer of 2", () => primitives().rope({ heads: f32(1), headDim: 1, cos: f32(1), sin: f32(1) })],
    ["u has 3 elements", () => primitives().swiglu({ u: f32(3), limit: 7 })],
    [
      "sinks has 1 elements; 2",
      () =>
        primitives().attention({
          q: f32(4),
          k: f32(2),
          v: f32(2),
          sinks: f32(1),
          kvHeads: 1,
          group: 2,
          headDim: 2,
          window: 0,
        }),
    ],
  ])("refuses sizes that do not fit: %s", (message, call) => {
    expect(call).toThrow(message);
  });
});

describe("a worker thread that is terminated", () => {
  /** Queues calls that take a while and write to its own arrays, says so, and is terminated; the process goes on. */
  const script = (data: unknown) => `
    const { Worker } = require("node:worker_threads");
    const source = ${JSON.stringify(`
      const { parentPort, workerData } = require("node:worker_threads");
      const { addon, config, refs, pairs } = workerData;
      const { Kernels } = require(addon);
      const kernels = new Kernels("scalar", 2, (code, message) => new Error(message));
      const experts = kernels.createExpertEngine({ config, activation: "f32" });
      experts.load(refs).then(() => {
        const rowBytes = config.hiddenSize * 4;
        const run = () => experts.run({
          layer: refs.layer, inputs: [new Uint8Array(rowBytes)],
          pairs: { input: new Uint16Array(pairs), row: new Uint32Array(pairs), expert: new Uint16Array(pairs).fill(refs.expert) },
          outputs: [new Uint8Array(pairs * rowBytes)],
        });
        for (let i = 0; i < 3; i++) run();
        setTimeout(() => parentPort.postMessage("running"), 20);
      });
    `)};
    const once = () => new Promise((resolve, reject) => {
      const worker = new Worker(source, { eval: true, workerData: ${JSON.stringify(data)} });
      worker.on("message", () => worker.terminate());
      worker.on("error", reject);
      worker.on("exit", resolve);
    });
    (async () => {
      for (let i = 0; i < 5; i++) await once();
      console.log("alive");
    })();`;

  it("ends its operations before its memory goes", async () => {
    const refs = checkpoint.expertRefs(0, 0);
    const data = { addon: ADDON, config: checkpoint.config, refs, pairs: 4_000 };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ["-e", script(data)]);
    expect({ stdout, stderr }).toEqual({ stdout: "alive\n", stderr: "" });
  });
});
