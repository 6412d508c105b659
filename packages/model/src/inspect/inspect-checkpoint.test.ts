import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planCheckpoint, plannedBytes, plannedTensors } from "../checkpoint/tensor-plan.js";
import { CHECKPOINT_SHAPES, shapeFiles } from "../make-checkpoint/checkpoint-shape.js";
import { encodeSafetensorsHeader } from "../make-checkpoint/safetensors-writer.js";
import { writeRandomCheckpoint } from "../make-checkpoint/write-random-checkpoint.js";
import { inspectCheckpoint } from "./inspect-checkpoint.js";
import { renderReport } from "./render-report.js";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "moiety-inspect-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** A released model's header before a hole of its size: no data is written. */
async function writeHollow(like: "20b" | "120b", layout: "huggingface" | "original"): Promise<string> {
  const directory = await mkdtemp(join(root, like));
  const files = shapeFiles({ shape: CHECKPOINT_SHAPES[like], layout, quantised: true, harmony: true });
  const tensors = plannedTensors(planCheckpoint({ config: files.parsed, layout, experts: "mxfp4" }));
  const header = encodeSafetensorsHeader(tensors);
  const handle = await open(join(directory, "model.safetensors"), "w");
  await handle.writeFile(header);
  await handle.truncate(header.length + tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), 0));
  await handle.close();
  await writeFile(join(directory, "config.json"), JSON.stringify(files.config));
  return directory;
}

describe("inspectCheckpoint on the released shapes", () => {
  it.each([
    ["120b", "huggingface", 116.83, 5.13, 60.77],
    ["120b", "original", 116.83, 5.13, 60.77],
    ["20b", "huggingface", 20.91, 3.61, 12.82],
    ["20b", "original", 20.91, 3.61, 12.82],
  ] as const)("counts %s in the %s layout as published", async (like, layout, total, active, gibibytes) => {
    const report = await inspectCheckpoint(await writeHollow(like, layout));
    expect(report.name).toBe(`gpt-oss-${like}`);
    expect(report.layout).toBe(layout);
    expect(report.parameters.total / 1e9).toBeCloseTo(total, 2);
    expect(report.parameters.active / 1e9).toBeCloseTo(active, 2);
    expect(report.totalBytes / 2 ** 30).toBeCloseTo(gibibytes, 2);
    expect(report.expertBytes).toBe(13_236_480);
    expect(report.kvCache.fullBytesPerToken).toBe(like === "120b" ? 36_864 : 24_576);
    expect(report.kvCache.slidingBytesPerSequence / 1e6).toBeCloseTo(like === "120b" ? 4.72 : 3.15, 2);
    expect(report.attentionWorkerBytes / 1e9).toBeCloseTo(like === "120b" ? 4.26 : 3.6, 1);
    expect(report.shards.map(({ shards }) => shards)).toEqual([1, 2, 4, 8]);
    expect((report.shards[1]?.bytes[0] ?? 0) / 1e9).toBeCloseTo(like === "120b" ? 30.5 : 5.08, 1);
  });
});

describe("inspectCheckpoint", () => {
  it("reads the tokenizer and finds nothing to warn of in a made checkpoint", async () => {
    const { directory } = await writeRandomCheckpoint({ out: join(root, "made") });
    const report = await inspectCheckpoint(directory, { shards: [3] });
    expect(report.warnings).toEqual([]);
    expect(report.name).toBe("gpt-oss architecture");
    expect(report.tokenizer).toMatchObject({ vocabSize: 1024, specialTokens: 9 });
    const worker = (experts: number) => experts * report.config.layers * report.expertBytes;
    expect(report.shards).toEqual([{ shards: 3, experts: [6, 5, 5], bytes: [worker(6), worker(5), worker(5)] }]);
    await expect(inspectCheckpoint(directory, { shards: [17] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("warns of a missing tokenizer and of missing stop tokens", async () => {
    const { directory } = await writeRandomCheckpoint({ out: join(root, "bare"), tokenizer: "none" });
    const { warnings } = await inspectCheckpoint(directory);
    expect(warnings).toEqual([expect.stringMatching(/no stop tokens/), expect.stringMatching(/no tokenizer\.json/)]);
  });

  it("divides 32 experts over three workers as 11, 11 and 10", async () => {
    const report = await inspectCheckpoint(await writeHollow("20b", "huggingface"), { shards: [3, 5] });
    expect(report.shards.map(({ experts }) => experts)).toEqual([
      [11, 11, 10],
      [7, 7, 6, 6, 6],
    ]);
    for (const { bytes } of report.shards) {
      expect(bytes.reduce((sum, each) => sum + each, 0)).toBe(report.bytesByRole.expert);
    }
    expect(renderReport(report)).toMatch(
      /^3 expert workers +2 of 3\.49 GB \(11 experts per layer\), 1 of 3\.18 GB \(10 experts per layer\)$/m,
    );
  });

  it("renders as aligned lines", async () => {
    const { directory } = await writeRandomCheckpoint({ out: join(root, "rendered"), tokenizer: "none" });
    const text = renderReport(await inspectCheckpoint(directory));
    expect(text).toMatch(/^parameters +3\.31 M, 1\.39 M active per token$/m);
    expect(text).toMatch(/^1 expert worker +\S+ MB each \(16 experts per layer\)$/m);
    expect(text).toMatch(/^4 expert workers +\S+ kB each \(4 experts per layer\)$/m);
    expect(text).toMatch(/^warning +no tokenizer\.json/m);
    const columns = text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => /\S {2,}(?=\S)/.exec(line.trimStart()) !== null);
    expect(columns.every(Boolean)).toBe(true);
  });
});
