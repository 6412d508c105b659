import { type ClusterHandle, type ClusterOptions, type ServiceHandle, startCluster } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Received, readStream, type Stream, seededRequest } from "./seeded-requests.js";
import { makeModel, type TestModel } from "./test-model.js";

const OTHERS = 32;

let model: TestModel;
beforeAll(async () => {
  model = await makeModel();
}, 60_000);
afterAll(() => model?.remove());

async function withCluster<T>(options: Omit<ClusterOptions, "model">, use: (cluster: ClusterHandle) => Promise<T>): Promise<T> {
  const cluster = await startCluster({ model: model.folder, activation: "bf16", ...options });
  try {
    return await use(cluster);
  } catch (error) {
    throw new Error(`${error}\n${cluster.describe()}`, { cause: error });
  } finally {
    await cluster.close();
  }
}

describe("a seeded request", () => {
  const shardings = [
    { name: "the experts inside the attention worker", options: { colocated: true } },
    { name: "one expert worker", options: { expertWorkers: 1 } },
    { name: "two expert workers", options: { expertWorkers: 2 } },
    { name: "three expert workers and two attention workers", options: { expertWorkers: 3, attentionWorkers: 2 } },
    { name: "two expert workers that hold every expert twice", options: { expertWorkers: 2, replicas: 2, threads: 2 } },
  ];
  /** What the first sharding gave: every other has to give the same. */
  let expected: readonly Received[] | undefined;

  it.each(shardings)(
    `gets the same tokens alone and among ${OTHERS} others, with $name`,
    async ({ options }) => {
      await withCluster(options, async ({ url }) => {
        const bodies = Array.from({ length: OTHERS + 1 }, (_, index) => seededRequest(index, 16));
        const alone = await readStream(url, bodies[0]);
        const together = (await Promise.all(bodies.map((body) => readStream(url, body)))).map(({ received }) => received);
        expect(alone.received.tokenIds).toHaveLength(16);
        expect(together[0]).toEqual(alone.received);
        expected ??= together;
        expect(together).toEqual(expected);
        expect(new Set(together.map(({ text }) => text)).size, "the requests differ from each other").toBeGreaterThan(OTHERS / 2);
      });
    },
    180_000,
  );
});

describe("requests under way, when a process is killed with SIGKILL and started again", () => {
  const STREAMS = 8;
  const TOKENS = 150;
  let cluster: ClusterHandle;
  let undisturbed: readonly Stream[];

  const bodies = Array.from({ length: STREAMS }, (_, index) => seededRequest(index, TOKENS));
  const streamAll = (onChunk?: () => void) => Promise.all(bodies.map((body) => readStream(cluster.url, body, onChunk)));
  const stallOf = (streams: readonly Stream[]) => Math.round(Math.max(...streams.map(({ longestStallMs }) => longestStallMs)));

  beforeAll(async () => {
    // One attention worker: whoever takes its requests over is itself, restarted.
    cluster = await startCluster({ model: model.folder, activation: "bf16", expertWorkers: 2, replicas: 2 });
    undisturbed = await streamAll();
  }, 180_000);
  afterAll(() => cluster?.close());

  const victims: readonly (readonly [string, (handle: ClusterHandle) => Pick<ServiceHandle, "restart"> | undefined])[] = [
    ["an expert worker", ({ expertWorkers }) => expertWorkers[0]],
    ["the only attention worker", ({ attentionWorkers }) => attentionWorkers[0]],
    ["the router", ({ router }) => router],
    ["Redis", ({ redis }) => redis],
  ];

  it.each(victims)(
    "all get their tokens, none twice and none missing: %s",
    async (name, choose) => {
      let chunks = 0;
      let restarted: Promise<void> | undefined;
      let chunksAfter = 0;
      const disturbed = await streamAll(() => {
        chunks += 1;
        if (chunks === STREAMS * 20) restarted = choose(cluster)?.restart();
        if (chunks > STREAMS * 20) chunksAfter += 1;
      }).catch((error) => {
        throw new Error(`${error}\n${cluster.describe()}`, { cause: error });
      });
      await restarted;
      expect(restarted, "the process was killed").toBeDefined();
      expect(chunksAfter, "tokens were still to come").toBeGreaterThan(STREAMS * 50);
      expect(disturbed.map(({ received }) => received)).toEqual(undisturbed.map(({ received }) => received));
      for (const { received } of disturbed) expect(received).toMatchObject({ finishReason: "length" });
      console.log(`longest stall, ${name} killed: ${stallOf(disturbed)} ms (undisturbed: ${stallOf(undisturbed)} ms)`);
      await cluster.waitReady();
    },
    180_000,
  );
});
