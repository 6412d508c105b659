import { readFile } from "node:fs/promises";
import { inspectCheckpoint } from "@moiety/model";
import { type ClusterHandle, startCluster } from "@moiety/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readStream, seededRequest } from "./seeded-requests.js";
import { makeModel, type TestModel } from "./test-model.js";

const WORKERS = 2;
/** Of a worker that holds no expert: Node, its code, and buffers. */
const PROCESS_BYTES = 200e6;
/** Experts of two layers only, but each as large as in gpt-oss-20b: 849 MB. */
const SHAPE = ["--like", "20b", "--layers", "2", "--vocab", "1024"];

let model: TestModel;
let cluster: ClusterHandle;
beforeAll(async () => {
  model = await makeModel(...SHAPE);
  cluster = await startCluster({ model: model.folder, activation: "bf16", expertWorkers: WORKERS });
}, 180_000);
afterAll(async () => {
  await cluster?.close();
  await model?.remove();
});

/** The most memory that a process ever had, the pages of mapped files included. */
async function peakBytes(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
  return Number(kilobytes) * 1024;
}

it.runIf(process.platform === "linux")(
  "an expert worker holds its share of the experts in memory, and no more",
  async () => {
    const report = await inspectCheckpoint(model.folder, { shards: [WORKERS] });
    const shareBytes = report.shards[0]?.bytes[0] ?? Number.NaN;
    const wholeBytes = report.bytesByRole.expert;
    await Promise.all([0, 6, 13, 20].map((index) => readStream(cluster.url, seededRequest(index, 12))));
    for (const { name, process } of cluster.expertWorkers) {
      const peak = await peakBytes(process.pid);
      const figures = `${name}: ${Math.round(peak / 1e6)} MB at its peak, its share is ${Math.round(shareBytes / 1e6)} MB`;
      console.log(figures);
      expect(peak, `${figures}: the requests used nearly all experts`).toBeGreaterThan(shareBytes * 0.9);
      expect(peak, figures).toBeLessThanOrEqual(shareBytes * 1.05 + PROCESS_BYTES);
      expect(peak, figures).toBeLessThan(wholeBytes * 0.8);
    }
  },
  120_000,
);
