import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ClusterHandle, openSse, startCluster, waitUntil } from "../src/index.js";

const run = promisify(execFile);
const moiety = fileURLToPath(new URL("../../cli/bin/moiety.js", import.meta.url));

let dir: string;
let model: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "moiety-cluster-"));
  model = join(dir, "tiny");
  await run(process.execPath, [moiety, "make-checkpoint", model]);
}, 120_000);

afterAll(() => rm(dir, { recursive: true, force: true }));

const MAX_TOKENS = 220;
const DISTURBED_CHUNK = 8;
/** What must still arrive after a disturbance: else it came too late to prove anything. */
const LEAST_CHUNKS_AFTER = 150;
const LEAST_MS_AFTER = 500;

/** Streams one greedy completion and calls `disturb` after a few chunks. Returns the text. */
async function complete(cluster: ClusterHandle, disturb?: () => Promise<unknown>): Promise<string> {
  const body = {
    model: "tiny",
    prompt: "The share of each is",
    max_tokens: MAX_TOKENS,
    temperature: 0,
    stream: true,
    ignore_eos: true,
  };
  const response = await openSse(`${cluster.url}/v1/completions`, { body });
  expect(response.status, response.body).toBe(200);
  let text = "";
  let chunks = 0;
  let disturbedAtMs = 0;
  for await (const { data, atMs } of response.events) {
    if (data === "[DONE]") {
      if (disturb !== undefined) expect(chunks - DISTURBED_CHUNK).toBeGreaterThan(LEAST_CHUNKS_AFTER);
      if (disturb !== undefined) expect(atMs - disturbedAtMs).toBeGreaterThan(LEAST_MS_AFTER);
      return text;
    }
    const chunk: { choices?: { text: string }[]; error?: unknown } = JSON.parse(data);
    expect(chunk.error).toBeUndefined();
    text += chunk.choices?.[0]?.text ?? "";
    chunks += 1;
    if (chunks !== DISTURBED_CHUNK) continue;
    disturbedAtMs = atMs;
    await disturb?.();
  }
  throw new Error(`the stream ended without [DONE] after ${chunks} chunks`);
}

interface RouterStatus {
  readonly placement: { readonly phase: string; readonly workers: readonly { readonly slots: number }[] };
}

/** Waits until every process is ready and every expert worker holds a share, so that each of them matters. */
async function waitBalanced(cluster: ClusterHandle): Promise<void> {
  await cluster.waitReady();
  const probe = async () => {
    const response = await fetch(`${cluster.router?.httpUrl}/status`);
    const { placement } = (await response.json()) as RouterStatus;
    const sharing = placement.workers.filter(({ slots }) => slots > 0).length;
    return placement.phase === "active" && sharing === cluster.expertWorkers.length;
  };
  await waitUntil("every expert worker has a share", probe, { timeoutMs: 20_000, describe: () => cluster.describe() });
}

describe("a cluster of processes", () => {
  let cluster: ClusterHandle;
  let undisturbed: string;

  beforeAll(async () => {
    cluster = await startCluster({ model, expertWorkers: 2, attentionWorkers: 2 });
    undisturbed = await complete(cluster);
    expect(undisturbed.length).toBeGreaterThan(40);
  }, 120_000);

  afterAll(() => cluster?.close());
  beforeEach(() => waitBalanced(cluster), 60_000);

  /** Asserts the promise: whatever `disturb` does, the client receives what it would have received. */
  async function expectSame(disturb: () => Promise<unknown>): Promise<void> {
    const text = await complete(cluster, disturb).catch((error) => {
      throw new Error(`${error}\n${cluster.describe()}`);
    });
    expect(text).toBe(undisturbed);
  }

  const victims: readonly (readonly [string, (handle: ClusterHandle) => ClusterHandle["services"][number] | undefined])[] = [
    ["an expert worker", ({ expertWorkers }) => expertWorkers[0]],
    ["one attention worker", ({ attentionWorkers }) => attentionWorkers[0]],
    ["the other attention worker", ({ attentionWorkers }) => attentionWorkers[1]],
    ["the router", ({ router }) => router],
  ];

  it.each(victims)(
    "gives the same tokens when %s is killed and started again",
    async (_name, choose) => {
      await expectSame(async () => choose(cluster)?.restart());
    },
    90_000,
  );

  it("gives the same tokens when an expert worker is killed and does not return", async () => {
    const [lost] = cluster.expertWorkers;
    await expectSame(async () => lost?.kill());
    expect(lost?.process.isAlive).toBe(false);
    await lost?.restart();
  }, 90_000);

  it("gives the same tokens when an expert worker stops answering", async () => {
    const [frozen] = cluster.expertWorkers;
    await expectSame(async () => frozen?.freeze());
    frozen?.thaw();
  }, 90_000);

  it("gives the same tokens when the attention workers stop answering one after the other", async () => {
    const [first, second] = cluster.attentionWorkers;
    await expectSame(async () => first?.freeze());
    first?.thaw();
    await cluster.waitReady();
    await expectSame(async () => second?.freeze());
    second?.thaw();
  }, 180_000);

  it("gives the same tokens when Redis is killed and started again", async () => {
    await expectSame(() => cluster.redis.restart());
  }, 90_000);

  it("gives the same tokens when every worker and the router are killed at once", async () => {
    await expectSame(async () => {
      const all = [
        ...cluster.expertWorkers,
        ...cluster.attentionWorkers,
        ...(cluster.router === undefined ? [] : [cluster.router]),
      ];
      await Promise.all(all.map((service) => service.restart()));
    });
  }, 90_000);

  it("gives the same tokens with the experts inside the attention worker", async () => {
    const colocated = await startCluster({ model, colocated: true });
    try {
      expect(await complete(colocated)).toBe(undisturbed);
    } finally {
      await colocated.close();
    }
  }, 90_000);
});
