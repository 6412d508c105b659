import { execFile } from "node:child_process";
import { copyFile, mkdtemp, open, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { AppError } from "@moiety/core";
import { type ExpertRefs, openCheckpoint, type TensorRef } from "@moiety/model";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ExpertEngine, type Kernels, openKernels } from "../src/index.js";
import { LocalModel } from "./local-model.js";
import { GOLDEN } from "./safetensors.js";

const DIRECTORY = `${GOLDEN}ckpt/A`;
const HIDDEN = 64;
const VOCAB = 512;

let kernels: Kernels;
let model: LocalModel;
let folder: string;
beforeAll(async () => {
  kernels = openKernels({ threads: 2 });
  model = await LocalModel.open({ kernels, directory: DIRECTORY, activation: "f32", pageTokens: 8, pages: 4 });
  folder = await mkdtemp(join(tmpdir(), "moiety-kernels-"));
});
afterAll(async () => {
  await kernels.close();
  await rm(folder, { recursive: true, force: true });
});

const SEQUENCE = {
  rowStart: 0,
  rowCount: 2,
  positionStart: 7,
  fullPages: Int32Array.of(0, 1),
  slidingPages: Int32Array.of(2, 3),
  slidingFirstBlock: 0,
};
const BATCH = { tokens: Int32Array.of(1, 2), sequences: [SEQUENCE] };

function refusal(code: string, message: string): unknown {
  return expect.objectContaining({ name: "AppError", code, message: expect.stringContaining(message) });
}

async function thrownBy(body: () => unknown): Promise<unknown> {
  try {
    await body();
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    return error;
  }
  throw new Error("nothing was thrown");
}

describe("opening", () => {
  it("refuses a level that this CPU lacks and a number of threads that makes no sense", async () => {
    expect(await thrownBy(() => openKernels({ level: "neon", threads: 1 }))).toEqual(
      refusal("FAILED_PRECONDITION", "level neon"),
    );
    expect(await thrownBy(() => openKernels({ threads: 0 }))).toEqual(refusal("INVALID_ARGUMENT", "threads is 0"));
  });

  it("says its level, threads and family", () => {
    expect(kernels).toMatchObject({ threads: 2, family: "cpu-f32-16lane-1" });
  });

  it("has a family of its own for each type of activations", () => {
    const families = (["f32", "bf16", "int8"] as const).map((activation) => kernels.familyOf(activation));
    expect(families).toEqual([
      "cpu-f32-16lane-1",
      "cpu-f32-16lane-1+bf16-pairs-1",
      "cpu-f32-16lane-1+bf16-pairs-1+int8-block32-1",
    ]);
  });
});

describe("a batch", () => {
  it.each([
    ["tokens[1] is 512; the vocabulary has 512 tokens", { ...BATCH, tokens: Int32Array.of(1, VOCAB) }],
    ["tokens has 0 entries", { tokens: new Int32Array(0), sequences: [] }],
    ["sequences cover 2 rows; tokens has 3", { ...BATCH, tokens: Int32Array.of(1, 2, 3) }],
    ["sequences[0] has rows 1 + 2", { ...BATCH, sequences: [{ ...SEQUENCE, rowStart: 1 }] }],
    ["sequences[0] has positions 131071 to 131072", { ...BATCH, sequences: [{ ...SEQUENCE, positionStart: 131071 }] }],
    ["sequences[0] has positions -1", { ...BATCH, sequences: [{ ...SEQUENCE, positionStart: -1 }] }],
    [
      "sequences[0].fullPages lists blocks 0 to 0; blocks 0 to 1 are used",
      { ...BATCH, sequences: [{ ...SEQUENCE, fullPages: Int32Array.of(0) }] },
    ],
    [
      "sequences[0].fullPages[1] is page 4; the pool has 4 pages",
      { ...BATCH, sequences: [{ ...SEQUENCE, fullPages: Int32Array.of(0, 4) }] },
    ],
    [
      "sequences[0].slidingPages lists blocks 1 to 2; blocks 0 to 1",
      { ...BATCH, sequences: [{ ...SEQUENCE, slidingFirstBlock: 1 }] },
    ],
    ["sequences[0].slidingPages[0] is page -1", { ...BATCH, sequences: [{ ...SEQUENCE, slidingPages: Int32Array.of(-1, 1) }] }],
  ])("is refused: %s", async (message, spec) => {
    expect(await thrownBy(() => model.attention.createBatch(spec))).toEqual(refusal("INVALID_ARGUMENT", message));
  });

  it("is refused when a field has another type", async () => {
    const spec = { ...BATCH, tokens: [1, 2] } as never;
    expect(await thrownBy(() => model.attention.createBatch(spec))).toEqual(
      refusal("INVALID_ARGUMENT", "tokens: an Int32Array was expected"),
    );
  });

  it("gives views that are emptied by release, and is of no use afterwards", async () => {
    const batch = model.attention.createBatch(BATCH);
    expect([batch.rows, batch.residual.length, batch.normed.length, batch.expertIds.length]).toEqual([
      2,
      2 * HIDDEN,
      8 * HIDDEN,
      8,
    ]);
    const pending = model.attention.attend(batch, 0);
    expect(await thrownBy(() => batch.release())).toEqual(refusal("FAILED_PRECONDITION", "pending"));
    await pending;
    batch.release();
    batch.release();
    expect(batch.residual.length).toBe(0);
    expect(await thrownBy(() => model.attention.attend(batch, 0))).toEqual(refusal("FAILED_PRECONDITION", "released"));
  });

  it("is refused by another engine, and an object that is none by every engine", async () => {
    const other = await LocalModel.open({ kernels, directory: DIRECTORY, activation: "f32", pageTokens: 8, pages: 4 });
    const batch = model.attention.createBatch(BATCH);
    expect(await thrownBy(() => other.attention.attend(batch, 0))).toEqual(refusal("INVALID_ARGUMENT", "another engine"));
    expect(await thrownBy(() => other.attention.attend({} as never, 0))).toEqual(refusal("INVALID_ARGUMENT", "batch"));
    other.attention.close();
    expect(await thrownBy(() => other.attention.createBatch(BATCH))).toEqual(refusal("FAILED_PRECONDITION", "closed"));
    batch.release();
  });

  it("refuses a layer, a row and expert results that it does not have", async () => {
    const batch = model.attention.createBatch(BATCH);
    expect(await thrownBy(() => model.attention.attend(batch, 2))).toEqual(
      refusal("INVALID_ARGUMENT", "layer is 2; the model has 2"),
    );
    expect(await thrownBy(() => model.attention.attend(batch, 1))).toEqual(
      refusal("FAILED_PRECONDITION", "not been through layer 0"),
    );
    expect(await thrownBy(() => model.attention.logits(batch, Int32Array.of(2)))).toEqual(
      refusal("INVALID_ARGUMENT", "rows is 2"),
    );
    const part = (slots: number[], bytes = slots.length * HIDDEN * 4) => ({
      rows: new Uint8Array(bytes),
      slots: Uint32Array.from(slots),
    });
    const all = [0, 1, 2, 3, 4, 5, 6, 7];
    for (const [parts, message] of [
      [[part(all.slice(1))], "parts cover 7 of 8"],
      [[part([...all, 8])], "parts[0].slots[8] is 8, which the batch does not have"],
      [[part(all), part([3])], "parts[1].slots[0] is 3, which is given twice"],
      [[part(all, 100)], "parts[0].rows has 100 bytes"],
    ] as const) {
      expect(await thrownBy(() => model.attention.combine(batch, parts))).toEqual(refusal("INVALID_ARGUMENT", message));
    }
    batch.release();
  });

  it("gives an Error for a row whose logits are not finite, and samples the others", async () => {
    const batch = await model.forward([
      { layout: { pages: [0], ring: [0] }, positionStart: 0, tokens: [1] },
      { layout: { pages: [1], ring: [1] }, positionStart: 0, tokens: [2] },
    ]);
    batch.residual[0] = Number.NaN;
    const params = {
      temperature: 0,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      seed: 0n,
    };
    const [first, second] = await model.attention.sample(batch, [
      { row: 0, params, counter: 0 },
      { row: 1, params, counter: 0 },
    ]);
    expect(first).toEqual(refusal("INTERNAL", "not finite"));
    expect(second).toEqual({ token: expect.any(Number) });
    batch.release();
  });
});

describe("an expert call", () => {
  const call = {
    layer: 0,
    inputs: [new Uint8Array(2 * HIDDEN * 4)],
    pairs: { input: Uint16Array.of(0), row: Uint32Array.of(1), expert: Uint16Array.of(3) },
    outputs: [new Uint8Array(HIDDEN * 4)],
  };

  it.each([
    ["INVALID_ARGUMENT", "layer is 2; the model has 2 layers", { ...call, layer: 2 }],
    ["INVALID_ARGUMENT", "expert is 8; a layer has 8 experts", { ...call, pairs: { ...call.pairs, expert: Uint16Array.of(8) } }],
    ["INVALID_ARGUMENT", "pairs.row[0] is 2; input 0 has 2 rows", { ...call, pairs: { ...call.pairs, row: Uint32Array.of(2) } }],
    [
      "INVALID_ARGUMENT",
      "pairs.input[0] is 1; the call has 1 inputs",
      { ...call, pairs: { ...call.pairs, input: Uint16Array.of(1) } },
    ],
    [
      "INVALID_ARGUMENT",
      "pairs has 1 inputs, 2 rows and 1 experts",
      { ...call, pairs: { ...call.pairs, row: Uint32Array.of(0, 1) } },
    ],
    ["INVALID_ARGUMENT", "call.inputs[0] has 100 bytes; a multiple of 256", { ...call, inputs: [new Uint8Array(100)] }],
    ["INVALID_ARGUMENT", "outputs do not have one row of 256 bytes for each of 1 pairs", { ...call, outputs: [] }],
    ["INVALID_ARGUMENT", "outputs do not have", { ...call, outputs: [new Uint8Array(512)] }],
  ])("is refused with %s: %s", async (code, message, wrong) => {
    expect(await thrownBy(() => model.experts.run(wrong))).toEqual(refusal(code, message));
  });

  it("is refused for an expert that is not held, runs while one is being unloaded, and holds no bytes afterwards", async () => {
    const experts = kernels.createExpertEngine({ config: model.checkpoint.config, activation: "f32" });
    expect(await thrownBy(() => experts.run(call))).toEqual(refusal("FAILED_PRECONDITION", "expert 3 of layer 0 is not held"));
    await experts.load(model.checkpoint.expertRefs(0, 3));
    expect([experts.holds(0, 3), experts.holds(1, 3), experts.residentBytes]).toEqual([
      true,
      false,
      model.checkpoint.expertBytes,
    ]);
    const running = experts.run(call);
    const unloading = experts.unload(0, 3);
    await Promise.all([running, unloading]);
    expect([experts.holds(0, 3), experts.residentBytes]).toEqual([false, 0]);
    expect(await thrownBy(() => experts.unload(0, 3))).toEqual(refusal("FAILED_PRECONDITION", "not held"));
  });

  it("reads and writes rows at odd addresses and of several callers as it does aligned ones", async () => {
    const values = Float32Array.from({ length: 3 * HIDDEN }, (_, i) => Math.sin(i));
    const bytes = new Uint8Array(values.buffer);
    const pairs = { input: Uint16Array.of(0, 0, 0, 0), row: Uint32Array.of(0, 1, 2, 1), expert: Uint16Array.of(5, 2, 5, 2) };
    const expected = new Uint8Array(4 * HIDDEN * 4);
    await model.experts.run({ layer: 1, inputs: [bytes], pairs, outputs: [expected] });
    const odd = (part: Uint8Array) => {
      const copy = new Uint8Array(part.length + 1).subarray(1);
      copy.set(part);
      return copy;
    };
    const row = HIDDEN * 4;
    const inputs = [odd(bytes.subarray(row)), odd(bytes.subarray(0, row))];
    const outputs = [odd(new Uint8Array(row)), odd(new Uint8Array(0)), odd(new Uint8Array(3 * row))];
    const split = { input: Uint16Array.of(1, 0, 0, 0), row: Uint32Array.of(0, 0, 1, 0), expert: pairs.expert };
    await model.experts.run({ layer: 1, inputs, pairs: split, outputs });
    expect(Buffer.concat(outputs).equals(expected)).toBe(true);
    expect(expected.some((byte) => byte !== 0)).toBe(true);
  });
});

describe("loading", () => {
  let experts: ExpertEngine;
  let refs: ExpertRefs;
  beforeAll(() => {
    experts = kernels.createExpertEngine({ config: model.checkpoint.config, activation: "bf16" });
    refs = model.checkpoint.expertRefs(1, 2);
  });
  const withBias = (change: Partial<TensorRef>): ExpertRefs => ({ ...refs, downBias: { ...refs.downBias, ...change } });

  it("refuses a reference beyond the end of its file, naming both", async () => {
    const error = await thrownBy(() => experts.load(withBias({ offsetBytes: 2 ** 40 })));
    expect(error).toEqual(refusal("DATA_LOSS", `tensor ${refs.downBias.name} in ${refs.downBias.file} ends at byte`));
    expect(await thrownBy(() => experts.load(withBias({ offsetBytes: -2 })))).toEqual(refusal("DATA_LOSS", refs.downBias.name));
  });

  it("refuses another shape, length or dtype, and a file that is missing", async () => {
    expect(await thrownBy(() => experts.load(withBias({ shape: [HIDDEN - 1] })))).toEqual(
      refusal("INVALID_ARGUMENT", "has shape [63]; [64] was expected"),
    );
    expect(await thrownBy(() => experts.load(withBias({ lengthBytes: 1 })))).toEqual(
      refusal("INVALID_ARGUMENT", "is said to have 1 bytes"),
    );
    expect(await thrownBy(() => experts.load(withBias({ dtype: "f32" })))).toEqual(
      refusal("INVALID_ARGUMENT", "has dtype f32; bf16"),
    );
    expect(await thrownBy(() => experts.load(withBias({ file: "/none" })))).toEqual(refusal("NOT_FOUND", "cannot open /none"));
    expect(experts.holds(1, 2)).toBe(false);
  });

  it("refuses a NaN scale, naming layer, expert and tensor", async () => {
    const file = join(folder, "nan.safetensors");
    if (refs.gateUp.kind !== "mxfp4") throw new Error("a packed checkpoint was expected");
    const { scales } = refs.gateUp;
    await copyFile(scales.file, file);
    const handle = await open(file, "r+");
    await handle.write(Uint8Array.of(255), 0, 1, scales.offsetBytes + 5);
    await handle.close();
    const damaged: ExpertRefs = { ...refs, gateUp: { ...refs.gateUp, scales: { ...scales, file } } };
    expect(await thrownBy(() => experts.load(damaged))).toEqual(
      refusal("DATA_LOSS", `layer 1, expert 2: scale 5 of tensor ${scales.name}`),
    );
  });

  it("refuses a file that was cut short", async () => {
    const file = join(folder, "short.safetensors");
    await copyFile(refs.downBias.file, file);
    await truncate(file, refs.downBias.offsetBytes + 10);
    expect(await thrownBy(() => experts.load(withBias({ file })))).toEqual(refusal("DATA_LOSS", "the file has"));
  });

  it("refuses an attention worker's checkpoint that contradicts its config", async () => {
    const { config } = model.checkpoint;
    const spec = {
      refs: model.checkpoint.attentionRefs(),
      activation: "f32",
      kv: { pageTokens: 8, fullPages: 4, slidingPages: 4 },
    } as const;
    const wrong = [
      ["refs.layers has 2 entries; config.layers is 1", { ...config, layers: 1, attention: ["full"] as const }],
      ["has shape [512, 64]; [511, 64] was expected", { ...config, vocabSize: 511 }],
      ["config.queryHeads must be a multiple", { ...config, queryHeads: 3 }],
    ] as const;
    for (const [message, changed] of wrong) {
      expect(await thrownBy(() => kernels.createAttentionEngine({ ...spec, config: changed }))).toEqual(
        refusal("INVALID_ARGUMENT", message),
      );
    }
  });
});

describe("ending a process", () => {
  const script = (end: string) => `
    const { Kernels } = require(${JSON.stringify(fileURLToPath(new URL("../build/moiety_kernels.node", import.meta.url)))});
    const kernels = new Kernels("scalar", 2, (code, message) => new Error(message));
    const work = () => kernels.measure({ kind: "linear", format: "bf16", in: 64, out: 64, rows: 1, copies: 1 });
    ${end}`;

  it.each([
    ["after closing", "work().then(() => kernels.close())"],
    ["without closing", "work()"],
    ["with work under way", "work(); work(); setTimeout(() => process.exit(0), 50)"],
  ])("is clean %s", async (_, end) => {
    await expect(promisify(execFile)(process.execPath, ["-e", script(end)])).resolves.toEqual({ stdout: "", stderr: "" });
  });
});

describe("closing", () => {
  it("waits for what is queued and refuses what comes later", async () => {
    const own = openKernels({ threads: 2 });
    const local = await LocalModel.open({ kernels: own, directory: DIRECTORY, activation: "bf16", pageTokens: 8, pages: 4 });
    const batch = local.attention.createBatch(BATCH);
    let attended = 0;
    const operations = Array.from({ length: 50 }, () => local.attention.attend(batch, 0).then(() => attended++));
    await own.close();
    expect(attended).toBe(50);
    await Promise.all(operations);
    await own.close();
    expect(await thrownBy(() => local.attention.attend(batch, 0))).toEqual(refusal("FAILED_PRECONDITION", "closed"));
  });

  it("refuses operations beyond its queue's bound", async () => {
    const own = openKernels({ threads: 1 });
    const local = await LocalModel.open({ kernels: own, directory: DIRECTORY, activation: "f32", pageTokens: 8, pages: 4 });
    const batch = local.attention.createBatch(BATCH);
    const results = await Promise.allSettled(Array.from({ length: 6000 }, () => local.attention.attend(batch, 0)));
    const refused = results.filter((result) => result.status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.reason).toEqual(refusal("RESOURCE_EXHAUSTED", "queue of operations is full (4096)"));
    await own.close();
  });

  it("holds a repacked expert in as much memory as its checkpoint, and lets go of it", async () => {
    const checkpoint = await openCheckpoint(`${GOLDEN}ckpt/A`);
    const experts = kernels.createExpertEngine({ config: checkpoint.config, activation: "int8" });
    await experts.load(checkpoint.expertRefs(0, 0));
    expect(experts.residentBytes).toBe(checkpoint.expertBytes);
    await experts.unload(0, 0);
    expect(experts.residentBytes).toBe(0);
  });

  it("refuses experts of bf16 weights with int8 activations", async () => {
    const checkpoint = await openCheckpoint(`${GOLDEN}ckpt/A-bf16`);
    const experts = kernels.createExpertEngine({ config: checkpoint.config, activation: "int8" });
    expect(await thrownBy(() => experts.load(checkpoint.expertRefs(1, 2)))).toEqual(
      refusal("FAILED_PRECONDITION", "layer 1, expert 2"),
    );
  });

  it("lets the checkpoint of a bf16-transposed expert be as large as its owned copy", async () => {
    const checkpoint = await openCheckpoint(`${GOLDEN}ckpt/A-bf16`);
    const experts = kernels.createExpertEngine({ config: checkpoint.config, activation: "f32" });
    await experts.load(checkpoint.expertRefs(0, 0));
    expect(experts.residentBytes).toBe(checkpoint.expertBytes);
  });
});
