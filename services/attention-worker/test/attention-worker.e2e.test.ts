import { type AppError, parseRequestId, parseTenantId } from "@moiety/core";
import {
  createRequestProducer,
  type Finish,
  type GenerationParams,
  type RequestProducer,
  type RequestRecord,
} from "@moiety/queue";
import { createLogger, parseConfig } from "@moiety/runtime";
import { type RedisHandle, startRedis, waitUntil } from "@moiety/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type AttentionWorker, attentionWorkerConfigSchema, startAttentionWorker } from "../src/index.js";
import { golden } from "./real-engine.js";
import { params } from "./stand-in-claim.js";

let redis: RedisHandle;
let producer: RequestProducer;
let prefix = "";
let tests = 0;
const workers: AttentionWorker[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close(0)));
  await producer.close();
});

function open(): void {
  tests += 1;
  prefix = `test-${tests}`;
  producer = createRequestProducer({ redisUrl: redis.url, prefix });
}

async function startWorker(environment: Record<string, string> = {}): Promise<AttentionWorker> {
  const config = parseConfig(attentionWorkerConfigSchema, {
    MOIETY_MODEL: `${golden}ckpt/B`,
    MOIETY_REDIS_URL: redis.url,
    MOIETY_REDIS_PREFIX: prefix,
    MOIETY_WORKER_ID: `worker-${workers.length}`,
    MOIETY_COLOCATED: "true",
    MOIETY_THREADS: "1",
    MOIETY_KV_TOKENS: "4096",
    ...environment,
  });
  const logger = createLogger({ service: "attention-worker", instance: "test", level: "silent" });
  const onBroken = (error: AppError) => {
    throw error;
  };
  const worker = await startAttentionWorker({ config, logger, onBroken });
  workers.push(worker);
  await waitUntil("the worker is ready", async () => (await worker.missing()).length === 0);
  return worker;
}

function request(id: string, changes: Partial<GenerationParams> = {}, deadlineMs = 60_000): RequestRecord {
  const nowMs = Date.now();
  return {
    id: parseRequestId(id),
    tenant: parseTenantId("tenant"),
    cacheSalt: "",
    priority: 1,
    createdAtMs: nowMs,
    deadlineAtMs: nowMs + deadlineMs,
    promptTokens: Int32Array.from(
      { length: 20 + id.length * 3 },
      (_, index) => (index * 7 + Number(id.replace(/\D/g, "0"))) % 1000,
    ),
    params: { ...params, temperature: 1, seed: id.replace(/\D/g, "0"), maxTokens: 200, ...changes },
  };
}

interface Followed {
  readonly tokens: number[];
  readonly finish: Finish | undefined;
}

async function follow(record: RequestRecord, onToken: (count: number) => void = () => {}): Promise<Followed> {
  const tokens: number[] = [];
  for await (const event of producer.follow(record.id, 0, AbortSignal.timeout(30_000))) {
    if (event.kind === "finish") return { tokens, finish: event.finish };
    tokens.push(...event.tokens.map(({ token }) => token));
    onToken(tokens.length);
  }
  return { tokens, finish: undefined };
}

/** What the requests yield when nothing goes wrong. */
async function undisturbed(records: readonly RequestRecord[]): Promise<number[][]> {
  open();
  const worker = await startWorker();
  const results = [];
  for (const record of records) {
    await producer.submit(record);
    results.push((await follow(record)).tokens);
  }
  await worker.close(0);
  workers.splice(0);
  await producer.close();
  return results;
}

describe("an attention worker", () => {
  it("hands its requests over to another one, and every token is the one that would have come", async () => {
    const records = Array.from({ length: 8 }, (_, index) => request(`r-${index}`));
    const expected = await undisturbed(records);
    open();
    const first = await startWorker();
    for (const record of records) await producer.submit(record);
    let seen = 0;
    const following = records.map((record) =>
      follow(record, () => {
        seen += 1;
      }),
    );
    await waitUntil("tokens flow", () => seen > 40);
    await first.close(0);
    await startWorker({ MOIETY_PREFILL_CHUNK_TOKENS: "13", MOIETY_KV_PAGE_TOKENS: "8" });
    const results = await Promise.all(following);
    expect(results.map(({ finish }) => finish?.reason)).toEqual(records.map(() => "length"));
    expect(results.map(({ tokens }) => tokens)).toEqual(expected);
  });

  it("pauses while Redis is away, and goes on where it was", async () => {
    const record = request("r-1", { maxTokens: 600 });
    const [expected] = await undisturbed([record]);
    open();
    await startWorker();
    await producer.submit(record);
    let seen = 0;
    const following = follow(record, (count) => {
      seen = count;
    });
    await waitUntil("tokens flow", () => seen > 20);
    await redis.kill();
    await redis.restart();
    const { tokens, finish } = await following;
    expect(finish?.reason).toBe("length");
    expect(tokens).toEqual(expected);
  });

  it("ends a cancelled request and one past its deadline while they run", async () => {
    open();
    const worker = await startWorker();
    const cancelled = request("r-1", { maxTokens: 3500 });
    const late = request("r-2", { maxTokens: 3500 }, 400);
    await producer.submit(cancelled);
    await producer.submit(late);
    let cancelling: Promise<void> | undefined;
    const ends = await Promise.all([
      follow(cancelled, (count) => {
        if (count > 5) cancelling ??= producer.cancel(cancelled.id);
      }),
      follow(late),
    ]);
    await cancelling;
    expect(ends[0].finish).toMatchObject({ reason: "cancelled" });
    expect(ends[1].finish).toMatchObject({ reason: "error", error: { code: "DEADLINE_EXCEEDED" } });
    const metrics = async () => (await fetch(`http://127.0.0.1:${worker.httpPort}/metrics`)).text();
    await waitUntil("nothing runs", async () => /vllm:num_requests_running\{[^}]*\} 0/.test(await metrics()));
  });

  it("tells gateways that it lives and what it can hold, and exports what dashboards know", async () => {
    open();
    const worker = await startWorker();
    const record = request("r-1", { maxTokens: 5 });
    await producer.submit(record);
    expect((await follow(record)).finish).toMatchObject({ reason: "length", outputTokens: 5 });
    const [beat] = await waitUntil("a beat arrives", async () => {
      const beats = await producer.workers();
      return beats.length > 0 && beats;
    });
    expect(beat).toMatchObject({ workerId: "worker-0", maxContextTokens: 1024, running: 0 });
    const text = await (await fetch(`http://127.0.0.1:${worker.httpPort}/metrics`)).text();
    for (const name of ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "num_preemptions_total"]) {
      expect(text).toMatch(new RegExp(`vllm:${name}\\{[^}]*model_name="B"[^}]*\\}`));
    }
    expect(text).toMatch(/vllm:request_prefill_time_seconds_count\{[^}]*\} 1/);
    expect(text).toMatch(/moiety_hop_part_seconds_total\{part="compute"[^}]*\} 0\.\d*[1-9]/);
    expect((await fetch(`http://127.0.0.1:${worker.httpPort}/ready`)).status).toBe(200);
  });
});

describe("its configuration", () => {
  it("names every fault at once", () => {
    const parse = () => parseConfig(attentionWorkerConfigSchema, { MOIETY_STEP_TOKENS: "none", MOIETY_ACTIVATION: "fp8" });
    expect(parse).toThrowError(/MOIETY_MODEL[\s\S]*MOIETY_ACTIVATION[\s\S]*MOIETY_STEP_TOKENS/);
    const base = { MOIETY_MODEL: "m" };
    expect(() => parseConfig(attentionWorkerConfigSchema, base)).toThrowError(/MOIETY_ROUTER_ADDRESS/);
    const small = { ...base, MOIETY_COLOCATED: "true", MOIETY_STEP_TOKENS: "4" };
    expect(() => parseConfig(attentionWorkerConfigSchema, small)).toThrowError(/at least MOIETY_MAX_SEQUENCES/);
  });
});
