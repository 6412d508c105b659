import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { parseTenantId, systemClock } from "@moiety/core";
import { type BatchClaim, type FileId, type Ledgers, NO_FILE_LIMITS, newBatchId, newFileId, openLedgers } from "@moiety/queue";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RedisServer } from "../../../packages/queue/test/redis-server.js";
import { markResult, ResultFiles, removeSegments } from "../src/batches/result-files.js";
import { VolumeStore } from "../src/files/volume-store.js";

const tenant = parseTenantId("alice");
const outputLifeMs = 60_000;

let redis: RedisServer;
let ledgers: Ledgers;
let store: VolumeStore;
let directory: string;
beforeAll(async () => {
  redis = await RedisServer.start();
  ledgers = openLedgers({ redisUrl: redis.url });
  directory = await mkdtemp(join(tmpdir(), "moiety-results-"));
  store = await VolumeStore.open(directory);
});
afterAll(async () => {
  await ledgers.close();
  await redis.stop();
  await rm(directory, { recursive: true, force: true });
});

async function* lines(...texts: string[]) {
  yield* texts;
}

it("results reach their file once, over segments, a former holder that still seals, and a file that is written again", async () => {
  const { batches, files } = ledgers;
  const [id, inputFileId] = [newBatchId(), newFileId()];
  const input = { id: inputFileId, tenant, name: "in", purpose: "batch", bytes: 1, place: "p", createdAtMs: 1 };
  await files.reserve({ id: inputFileId, tenant, nowMs: 1, limits: NO_FILE_LIMITS });
  await files.commit(input, NO_FILE_LIMITS);
  await batches.create({ id, tenant, inputFileId, createdAtMs: 1, document: "d", maxOpen: 1 });
  const claim = async (): Promise<BatchClaim> => {
    const claimed = await batches.claim({ leaseMs: 60_000, nowMs: Date.now() });
    if (!claimed) throw new Error("nothing to claim");
    return claimed;
  };
  const filesOf = (held: BatchClaim) =>
    new ResultFiles({ ledgers, store, clock: systemClock, claim: held, tenant, outputLifeMs });
  const record = async (held: BatchClaim, from: number, to: number) => {
    for (let line = from; line <= to; line++) {
      const outcome = line % 5 === 0 ? ("failed" as const) : ("completed" as const);
      const tokens = { input: 0, cached: 0, output: 0, reasoning: 0 };
      const { outcome: recorded } = await batches.record(held, markResult({ line, outcome, text: `{"line":${line}}`, tokens }));
      expect(recorded).toBe("recorded");
    }
  };
  const first = await claim();
  const replacement = { id, inputFileId, version: 1, document: "d1", accepts: true, ended: false, nowMs: 1 };
  expect(await batches.replace(replacement)).toBe("replaced");
  await record(first, 1, 20);
  expect(await filesOf(first).seal()).toBe(true);
  expect(await filesOf(first).seal()).toBe(true);
  await record(first, 21, 30);
  await batches.release(first);
  const second = await claim();
  expect(await filesOf(first).seal()).toBe(false);
  expect(await filesOf(second).seal()).toBe(true);
  await record(second, 31, 33);
  const results = filesOf(second);
  const contentOf = async (fileId: FileId) => {
    const file = await files.find(fileId, tenant, Date.now());
    return text(await store.read(`files/${fileId}/${file?.place}`));
  };
  const numbers = async (fileId: FileId) => {
    const found = (await contentOf(fileId)).split("\n").slice(0, -1);
    return found.map((line) => JSON.parse(line).line).sort((a, b) => a - b);
  };
  const all = Array.from({ length: 33 }, (_, index) => index + 1);
  const failed = all.filter((line) => line % 5 === 0);
  const late = await filesOf(first).write("error");
  expect(await numbers(late)).toEqual(failed);
  await files.hide(late, tenant, Date.now());
  await files.forget(late);
  for (let times = 0; times < 2; times++) {
    const output = await results.write("output");
    const errors = await results.write("error", lines('{"line":34}\n', '{"line":35}\n'));
    expect(await numbers(output)).toEqual(all.filter((line) => line % 5 !== 0));
    expect(await numbers(errors)).toEqual([...failed, 34, 35]);
    expect(await files.find(output, tenant, Date.now())).toMatchObject({
      purpose: "batch_output",
      name: `${id}_output.jsonl`,
      bytes: (await contentOf(output)).length,
    });
    expect(await readdir(join(directory, "files", output))).toHaveLength(1);
  }
  expect((await files.list(tenant, { limit: 9, order: "asc", nowMs: 2 }))?.items).toHaveLength(3);
  await batches.replace({ ...replacement, version: 2, document: "end", accepts: false, ended: true });
  await removeSegments(store, id);
  expect(await readdir(join(directory, "batches"))).toEqual([]);
  expect(await numbers(await filesOf(first).write("output"))).toHaveLength(27);
});
