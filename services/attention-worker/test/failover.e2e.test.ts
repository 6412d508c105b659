import { parseRequestId, parseTenantId } from "@moiety/core";
import { createRequestProducer, type RequestProducer } from "@moiety/queue";
import { createLogger } from "@moiety/runtime";
import { type ClusterHandle, freePort, startCluster, waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EvaluationExperts, openEvaluation, readCases } from "../src/index.js";
import { golden } from "./real-engine.js";
import { params } from "./stand-in-claim.js";

const model = `${golden}ckpt/B`;
let cluster: ClusterHandle;
let routerAddress: string;
let producer: RequestProducer;
let calm: number[][];

beforeAll(async () => {
  routerAddress = `127.0.0.1:${await freePort()}`;
  cluster = await startCluster({
    model,
    expertWorkers: 3,
    attentionWorkers: 2,
    gateways: 0,
    readyTimeoutMs: 120_000,
    env: {
      router: { MOIETY_LISTEN_ADDRESS: routerAddress },
      "expert-worker": { MOIETY_ROUTER_ADDRESS: routerAddress },
      "attention-worker": { MOIETY_ROUTER_ADDRESS: routerAddress, MOIETY_MICRO_BATCH_MIN_ROWS: "2" },
    },
  });
  producer = createRequestProducer({ redisUrl: cluster.redis.url });
  calm = await serveAll("calm");
}, 180_000);

afterAll(async () => {
  await producer?.close();
  await cluster?.close();
});

/** Sampled generations of many requests at once, and what happens to the cluster once a few tokens have come. */
async function serveAll(round: string, disturb?: () => Promise<unknown>): Promise<number[][]> {
  let seen = 0;
  let finished = 0;
  const serving = Array.from({ length: 16 }, async (_, index) => {
    const id = parseRequestId(`${round}-${index}`);
    const nowMs = Date.now();
    await producer.submit({
      id,
      tenant: parseTenantId("tenant"),
      cacheSalt: "",
      priority: 1,
      createdAtMs: nowMs,
      deadlineAtMs: nowMs + 120_000,
      promptTokens: Int32Array.from({ length: 10 + index * 7 }, (_token, position) => (position * 13 + index) % 1000),
      params: { ...params, temperature: 1, seed: String(index), maxTokens: 48 },
    });
    const tokens: number[] = [];
    for await (const event of producer.follow(id, 0, AbortSignal.timeout(90_000))) {
      if (event.kind === "finish") expect(event.finish.reason).toBe("length");
      else tokens.push(...event.tokens.map(({ token }) => token));
      seen += 1;
    }
    finished += 1;
    return tokens;
  });
  if (disturb !== undefined) {
    await waitUntil("tokens flow", () => seen > 150, { timeoutMs: 60_000, describe: () => cluster.describe() });
    expect(finished, "requests that are served to their ends before anything happens").toBeLessThan(8);
    await disturb();
  }
  return Promise.all(serving);
}

/** Requests that the worker that stays went on with from their logs, because their worker was lost. */
async function resumed(): Promise<number> {
  const text = (await cluster.attentionWorkers[1]?.metrics()) ?? "";
  const [, count] = /^moiety_requests_resumed_total\{.*reason="lost".*\} (\d+)$/m.exec(text) ?? [];
  return Number(count);
}

describe("a sharded cluster", () => {
  it("computes, bit for bit, what a process with all experts computes", async () => {
    const [given] = (await readCases(`${golden}cases.json`)).filter(({ name }) => name === "B_100");
    if (given === undefined) throw new Error("the case is in the file");
    const logger = createLogger({ service: "evaluation", instance: "test", level: "silent" });
    const evaluateWith = async (experts: EvaluationExperts, chunkTokens: number) => {
      const common = { directory: model, threads: 1, activation: "f32", contextTokens: 200, logger } as const;
      const evaluation = await openEvaluation({ ...common, experts, chunkTokens });
      const result = await evaluation.run(given);
      await evaluation.close();
      return result;
    };
    const sharded = await evaluateWith({ kind: "router", routerAddress }, 37);
    expect(sharded).toEqual(await evaluateWith({ kind: "co-located" }, 512));
  }, 120_000);

  it("loses no token and changes none when an attention worker is killed", async () => {
    const [first] = cluster.attentionWorkers;
    const before = await resumed();
    expect(await serveAll("attention-killed", async () => first?.kill())).toEqual(calm);
    expect(await resumed()).toBeGreaterThan(before);
    await first?.restart();
    await first?.waitReady(60_000);
  }, 120_000);

  it("loses no token and changes none when an attention worker is told to stop, which ends it cleanly", async () => {
    const [first] = cluster.attentionWorkers;
    let code: number | undefined;
    const tokens = await serveAll("attention-stopped", async () => {
      code = (await first?.terminate(30_000))?.code;
    });
    expect(tokens).toEqual(calm);
    expect(code).toBe(0);
  }, 120_000);

  it("loses no token and changes none when the only holder of some experts is killed", async () => {
    const [first] = cluster.expertWorkers;
    expect(await serveAll("expert-killed", async () => first?.kill())).toEqual(calm);
  }, 120_000);
});
