import { parseTenantId } from "@moiety/core";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type BatchClaim,
  type BatchId,
  type Claim,
  createRequestConsumer,
  createRequestProducer,
  type FileId,
  type Ledgers,
  MAX_PRIORITY,
  NO_FILE_LIMITS,
  newBatchId,
  newFileId,
  openLedgers,
} from "../src/index.js";
import { finish, rawClient, request } from "./fixtures.js";
import { RedisServer, until } from "./redis-server.js";

const ALICE = parseTenantId("alice");
const BOB = parseTenantId("bob");
const NONE = { input: 0, cached: 0, output: 0, reasoning: 0 };

let server: RedisServer;
let prefix: string;
let ledgers: Ledgers;
let run = 0;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());
beforeEach(() => {
  prefix = `ledgers-${run++}`;
  ledgers = openLedgers({ redisUrl: server.url, prefix });
  opened.push(ledgers);
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((side) => side.close()));
});

async function store(
  changes: { tenant?: typeof ALICE; purpose?: string; bytes?: number; atMs?: number; expiresAtMs?: number } = {},
) {
  const { tenant = ALICE, purpose = "batch", bytes = 10, atMs = 1_000, expiresAtMs } = changes;
  const id = newFileId();
  await ledgers.files.reserve({ id, tenant, nowMs: atMs, limits: NO_FILE_LIMITS });
  const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
  await ledgers.files.commit(
    { id, tenant, name: "in.jsonl", purpose, bytes, place: "p", createdAtMs: atMs, ...expiry },
    NO_FILE_LIMITS,
  );
  return id;
}

async function createBatch(changes: { maxOpen?: number; input?: FileId } = {}): Promise<{ id: BatchId; inputFileId: FileId }> {
  const id = newBatchId();
  const inputFileId = changes.input ?? (await store());
  const maxOpen = changes.maxOpen ?? 5;
  await ledgers.batches.create({ id, tenant: ALICE, inputFileId, createdAtMs: 1_000 + run, document: "d0", maxOpen });
  return { id, inputFileId };
}

const claimNow = async (leaseMs = 60_000): Promise<BatchClaim> => {
  const claim = await ledgers.batches.claim({ leaseMs, nowMs: Date.now() });
  if (!claim) throw new Error("nothing to claim");
  return claim;
};

async function accept(batch: { id: BatchId; inputFileId: FileId }, version = 1) {
  const change = { ...batch, version, document: `d${version}`, accepts: true, ended: false, nowMs: 0 };
  expect(await ledgers.batches.replace(change)).toBe("replaced");
}

const result = (line: number, text = `r${line}`) => ({
  line,
  text,
  outcome: "completed" as const,
  tokens: { ...NONE, output: 2 },
});

describe("files", () => {
  it("are their tenant's alone, from when they are stored until they are hidden or expire", async () => {
    const id = newFileId();
    await ledgers.files.reserve({ id, tenant: ALICE, nowMs: 1_000, limits: NO_FILE_LIMITS });
    expect(await ledgers.files.find(id, ALICE, 1_000)).toBeUndefined();
    const content = { name: "é.jsonl", purpose: "batch", bytes: 7, place: "first" };
    const file = { id, tenant: ALICE, ...content, createdAtMs: 1_000, expiresAtMs: 9_000 };
    expect(await ledgers.files.commit(file, NO_FILE_LIMITS)).toBe(true);
    expect(await ledgers.files.commit(file, NO_FILE_LIMITS)).toBe(true);
    expect(await ledgers.files.commit({ ...file, place: "second", bytes: 0 }, NO_FILE_LIMITS)).toBe(false);
    expect(await ledgers.files.find(id, ALICE, 8_999)).toEqual(file);
    expect(await ledgers.files.find(id, BOB, 1_000)).toBeUndefined();
    expect(await ledgers.files.find(id, ALICE, 9_000)).toBeUndefined();
    expect(await ledgers.files.hide(id, BOB, 1_000)).toBe("not-found");
    expect(await ledgers.files.hide(id, ALICE, 1_000)).toBe("hidden");
    expect(await ledgers.files.hide(id, ALICE, 1_000)).toBe("not-found");
    expect(await ledgers.files.list(ALICE, { limit: 9, order: "asc", nowMs: 1_000 })).toEqual({ items: [], hasMore: false });
  });

  it("are listed page by page, each once, in either order, of one purpose or of all", async () => {
    const ids: FileId[] = [];
    for (let at = 0; at < 7; at++) ids.push(await store({ atMs: 1_000 + at, purpose: at % 2 ? "evals" : "batch" }));
    await store({ tenant: BOB });
    for (const order of ["asc", "desc"] as const) {
      for (const purpose of ["batch", "evals", undefined]) {
        const found: string[] = [];
        for (let more = true, pages = 0; more && pages < 9; pages++) {
          const after = found.at(-1);
          const query = { limit: 2, order, nowMs: 0, ...(purpose ? { purpose } : {}), ...(after ? { after } : {}) };
          const page = await ledgers.files.list(ALICE, query);
          found.push(...(page?.items ?? []).map((file) => file.id));
          more = page?.hasMore ?? false;
        }
        const expected = ids.filter((_, at) => purpose === undefined || (at % 2 ? "evals" : "batch") === purpose);
        expect(found).toEqual(order === "asc" ? expected : expected.reverse());
      }
    }
    expect(await ledgers.files.list(ALICE, { limit: 2, order: "asc", nowMs: 0, after: newFileId() })).toBeUndefined();
  });

  it("are refused beyond a tenant's room, and make room when they go", async () => {
    const limits = { files: 2, bytes: 100 };
    const add = async (bytes: number) => {
      const id = newFileId();
      await ledgers.files.reserve({ id, tenant: ALICE, nowMs: 0, limits });
      await ledgers.files.commit({ id, tenant: ALICE, name: "n", purpose: "batch", bytes, place: "p", createdAtMs: 0 }, limits);
      return id;
    };
    const first = await add(60);
    await expect(add(41)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await add(40);
    await expect(add(0)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await ledgers.files.hide(first, ALICE, 0);
    await add(60);
  });

  it("fall due when they expire, when they are hidden, and when their upload never ended; but not while a batch reads them", async () => {
    const hour = 3_600_000;
    const [expiring, hidden, kept] = [await store({ expiresAtMs: 2_000 }), await store(), await store()];
    const abandoned = newFileId();
    await ledgers.files.reserve({ id: abandoned, tenant: ALICE, nowMs: 1_000, limits: NO_FILE_LIMITS });
    const inUse = await store({ expiresAtMs: 2_000 });
    await createBatch({ input: inUse });
    await ledgers.files.hide(hidden, ALICE, 1_500);
    expect(await ledgers.files.due(1_500)).toEqual([hidden]);
    expect(new Set(await ledgers.files.due(7 * hour))).toEqual(new Set([expiring, hidden, abandoned]));
    for (const id of await ledgers.files.due(7 * hour)) await ledgers.files.forget(id);
    expect(await ledgers.files.due(7 * hour)).toEqual([]);
    expect(await ledgers.files.find(kept, ALICE, 7 * hour)).toBeDefined();
    expect(await ledgers.files.hide(inUse, ALICE, 1_000)).toBe("in-use");
  });
});

describe("batches", () => {
  it("need an input of the same tenant, and room", async () => {
    const create = (inputFileId: FileId) =>
      ledgers.batches.create({ id: newBatchId(), tenant: BOB, inputFileId, createdAtMs: 1, document: "d", maxOpen: 1 });
    await expect(create(newFileId())).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(create(await store())).rejects.toMatchObject({ code: "NOT_FOUND" });
    const input = await store({ tenant: BOB });
    await create(input);
    await expect(create(input)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  });

  it("are worked on by one holder at a time, and by the next when its lease runs out", async () => {
    const batch = await createBatch();
    const first = await claimNow(300);
    expect(first).toMatchObject({ id: batch.id, isTakeover: false });
    expect(await ledgers.batches.claim({ leaseMs: 300, nowMs: Date.now() })).toBeUndefined();
    expect(await ledgers.batches.renew(first, 300)).toBe(1);
    let second: BatchClaim | undefined;
    await until(async () => {
      second ??= await ledgers.batches.claim({ leaseMs: 60_000, nowMs: Date.now() });
      return second !== undefined;
    });
    expect(second).toMatchObject({ id: batch.id, isTakeover: true });
    await accept(batch);
    expect(await ledgers.batches.renew(first, 300)).toBeUndefined();
    expect(await ledgers.batches.record(first, result(1))).toMatchObject({ outcome: "fenced" });
    expect(await ledgers.batches.seal(first, ["s"], [1])).toBe(false);
    const change = { ...batch, version: 2, document: "x", accepts: true, ended: true, nowMs: 0 };
    expect(await ledgers.batches.replace({ ...change, fence: first.fence })).toBe("fenced");
    await ledgers.batches.release(first);
    expect(await ledgers.batches.claim({ leaseMs: 300, nowMs: Date.now() })).toBeUndefined();
    if (second) await ledgers.batches.release(second);
    expect(await claimNow()).toMatchObject({ id: batch.id, isTakeover: false });
  });

  it("are given out to the tenants that are worked for least, the oldest first", async () => {
    const inputs = new Map([
      [ALICE, await store()],
      [BOB, await store({ tenant: BOB })],
    ]);
    const create = async (tenant: typeof ALICE, createdAtMs: number) => {
      const id = newBatchId();
      const inputFileId = inputs.get(tenant) as FileId;
      await ledgers.batches.create({ id, tenant, inputFileId, createdAtMs, document: "d", maxOpen: 9 });
      return id;
    };
    const alices = [await create(ALICE, 1), await create(ALICE, 2), await create(ALICE, 3)];
    const bobs = [await create(BOB, 4), await create(BOB, 5)];
    const order = [];
    for (let count = 0; count < 5; count++) order.push((await claimNow()).id);
    expect(order).toEqual([alices[0], bobs[0], alices[1], bobs[1], alices[2]]);
  });

  it("take results only while they accept them, and change only from what was read", async () => {
    const batch = await createBatch();
    const claim = await claimNow();
    expect(await ledgers.batches.record(claim, result(1))).toMatchObject({ outcome: "closed" });
    await accept(batch);
    const change = { ...batch, version: 1, document: "other", accepts: false, ended: false, nowMs: 0 };
    expect(await ledgers.batches.replace(change)).toBe("changed-meanwhile");
    expect(await ledgers.batches.replace({ ...change, document: "d1" })).toBe("replaced");
    expect(await ledgers.batches.record(claim, result(1))).toEqual({ outcome: "recorded", unsealed: 1 });
    expect(await ledgers.batches.record(claim, result(1, "again"))).toMatchObject({ outcome: "had-one" });
    expect(await ledgers.batches.find(batch.id)).toMatchObject({
      completed: 1,
      failed: 0,
      tokens: { output: 2 },
      document: "d1",
    });
    expect([...(await ledgers.batches.unsealed(batch.id))]).toEqual([[1, "r1"]]);
    const isDone = await ledgers.batches.doneLines(batch.id);
    expect([0, 1, 2, 900].map(isDone)).toEqual([false, true, false, false]);
  });

  it("leave the list of open ones when they end, let go of their input, and are litter until that is removed", async () => {
    const batch = await createBatch({ maxOpen: 1 });
    const claim = await claimNow();
    await accept(batch);
    await ledgers.batches.record(claim, result(1));
    const change = { ...batch, version: 2, document: "end", accepts: false, ended: true, nowMs: 5, fence: claim.fence };
    expect(await ledgers.batches.replace(change)).toBe("replaced");
    expect(await ledgers.batches.openCount()).toBe(0);
    expect(await ledgers.batches.find(batch.id)).toMatchObject({ document: "end", completed: 1 });
    expect((await ledgers.batches.unsealed(batch.id)).size).toBe(0);
    expect(await ledgers.batches.litter()).toEqual([batch.id]);
    await ledgers.batches.forgetLitter(batch.id);
    expect(await ledgers.batches.litter()).toEqual([]);
    expect(await ledgers.files.hide(batch.inputFileId, ALICE, 1)).toBe("hidden");
    await createBatch({ maxOpen: 1 });
  });

  it("keep every result exactly once, whoever records and seals it, in whatever order holders come and go", async () => {
    const step = fc.record({
      what: fc.constantFrom("record", "record", "record", "seal", "claim"),
      who: fc.nat(3),
      line: fc.integer({ min: 1, max: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const batch = await createBatch({ maxOpen: 1_000 });
        await accept(batch);
        const claims = [await claimNow()];
        const sealed = new Map<string, string[]>();
        const recorded = new Map<number, string>();
        let names = 0;
        for (const { what, who, line } of steps) {
          const claim = claims[who % claims.length];
          if (!claim) continue;
          const isLast = claim === claims.at(-1);
          if (what === "claim") {
            const last = claims.at(-1);
            if (last) await ledgers.batches.release(last);
            claims.push(await claimNow());
          } else if (what === "record") {
            const text = `${line} by ${claim.fence}`;
            const { outcome } = await ledgers.batches.record(claim, result(line, text));
            expect(outcome).toBe(!isLast ? "fenced" : recorded.has(line) ? "had-one" : "recorded");
            if (outcome === "recorded") recorded.set(line, text);
          } else {
            const found = await ledgers.batches.unsealed(batch.id);
            const name = `s${names++}`;
            if (found.size > 0 && (await ledgers.batches.seal(claim, [name], [...found.keys()])))
              sealed.set(name, [...found.values()]);
          }
        }
        const kept = (await ledgers.batches.segments(batch.id)).flatMap((name) => sealed.get(name) ?? []);
        kept.push(...(await ledgers.batches.unsealed(batch.id)).values());
        expect(kept.sort()).toEqual([...recorded.values()].sort());
        expect((await ledgers.batches.find(batch.id))?.completed).toBe(recorded.size);
        const change = { ...batch, version: 2, document: "end", accepts: false, ended: true, nowMs: 5 };
        await ledgers.batches.replace(change);
      }),
      { numRuns: 25 },
    );
  });
});

describe("a producer", () => {
  it("takes up a submission wherever its submitter died, and never runs a request twice", async () => {
    const producer = createRequestProducer({ redisUrl: server.url, prefix });
    opened.push(producer);
    const [unqueued, queued] = [request("unqueued"), request("queued")];
    for (const record of [unqueued, queued]) await producer.submit(record);
    const redis = rawClient(server.url);
    await redis.del(`{${prefix}}:requests:r/unqueued`);
    await redis.zrem(`{${prefix}}:requests:prioritized`, "r/unqueued");
    await redis.lrem(`{${prefix}}:requests:wait`, 0, "r/unqueued");
    await redis.quit();
    const consumer = createRequestConsumer({ redisUrl: server.url, prefix, capacity: 16 });
    opened.push(consumer);
    const claims: Claim[] = [];
    await consumer.start((claim) => claims.push(claim));
    await until(() => claims.length === 1);
    for (const record of [unqueued, queued]) await producer.resubmit(record);
    await until(() => claims.length === 2);
    expect(claims.map(({ record }) => record.id)).toEqual(["queued", "unqueued"]);
    for (const claim of claims) await claim.finish(finish(0));
    for (const record of [unqueued, queued]) await producer.resubmit(record);
    const last = request("last");
    await producer.resubmit(last);
    await until(() => claims.length === 3);
    expect(claims.at(-1)?.record.id).toBe("last");
  });

  it("tells how many more urgent requests wait", async () => {
    const producer = createRequestProducer({ redisUrl: server.url, prefix });
    opened.push(producer);
    expect(await producer.moreUrgent(2_048)).toBe(0);
    for (const priority of [0, 1_000, 2_047, 2_048, MAX_PRIORITY]) {
      await producer.submit(request(`cmpl-${priority}`, { priority }));
    }
    expect(await producer.moreUrgent(2_048)).toBe(3);
    expect(await producer.moreUrgent(1)).toBe(1);
  });
});
