import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ClusterHandle, startCluster, waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BatchClient, customIds } from "./batch-client.js";

const MODEL = fileURLToPath(new URL("../../../packages/testing/fixtures/golden/ckpt/A", import.meta.url));
const LINES = 60;

let cluster: ClusterHandle;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "moiety-batches-"));
  const gateway = { MOIETY_FILES_DIR: directory, MOIETY_BATCH_LEASE_MS: "1000", MOIETY_BATCH_LINES: "4" };
  cluster = await startCluster({ model: MODEL, colocated: true, gateways: 2, env: { gateway } });
}, 90_000);
afterAll(async () => {
  await cluster?.close();
  await rm(directory, { recursive: true, force: true });
});

const body = (line: number) => ({ prompt: [1, 2, 3, line], max_tokens: 48, ignore_eos: true, seed: line });
const metric = (text: string, name: string): number =>
  Number(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)`, "m").exec(text)?.[1] ?? 0);

it("a batch whose gateway is killed has the answer of every line, once, and the one that a live request has", async () => {
  const [first, second] = cluster.gateways;
  if (!first || !second) throw new Error("there are two gateways");
  const { id } = await new BatchClient(first.httpUrl).begin(Array.from({ length: LINES }, (_, index) => body(index + 1)));
  const works = async (gateway: typeof first) => metric(await gateway.metrics(), "moiety_batch_lines_in_flight") > 0;
  const holder = await waitUntil("a gateway works on the batch", async () => {
    for (const gateway of [first, second]) if (await works(gateway)) return gateway;
    return undefined;
  });
  const survivor = holder === first ? second : first;
  const client = new BatchClient(survivor.httpUrl);
  const before = await client.until(id, ({ request_counts }) => (request_counts?.completed ?? 0) >= 8, 60_000);
  await holder.kill();
  expect(before.request_counts?.completed).toBeLessThan(LINES);
  const ended = await client.ended(id, 90_000).catch((error: unknown) => {
    throw new Error(`${error}\n${cluster.describe()}`, { cause: error });
  });
  expect(ended).toMatchObject({ status: "completed", request_counts: { total: LINES, completed: LINES, failed: 0 } });
  expect(metric(await survivor.metrics(), "moiety_batch_takeovers_total")).toBe(1);
  const output = await client.results(ended.output_file_id);
  expect(output.map((line) => line.custom_id)).toEqual(customIds(LINES));
  const tokensOf = (answer: { choices: { token_ids?: number[] }[] }) => answer.choices[0]?.token_ids;
  for (const line of [1, 9, 10, 11, 12, 13, LINES]) {
    const live = await client.openai.completions.create({ model: "A", ...body(line) });
    expect(tokensOf(output[line - 1]?.response.body)).toEqual(tokensOf(live as never));
  }
  await holder.restart();
  await holder.waitReady();
  expect((await new BatchClient(holder.httpUrl).openai.batches.retrieve(id)).output_file_id).toBe(ended.output_file_id);
}, 180_000);
