import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseRequestId, parseTenantId } from "@moiety/core";
import { createRequestProducer, type RequestProducer } from "@moiety/queue";
import { freePort, type RedisHandle, type ServiceHandle, spawnService, startRedis, waitUntil } from "@moiety/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type BrokenCluster, startBrokenCluster } from "./broken-cluster.js";
import { golden } from "./real-engine.js";
import { params } from "./stand-in-claim.js";

const model = `${golden}ckpt/B`;
const entry = fileURLToPath(new URL("worker-process.mjs", import.meta.url));
let redis: RedisHandle;
let producer: RequestProducer;
let broken: BrokenCluster;
const workers: ServiceHandle[] = [];

beforeEach(async () => {
  redis = await startRedis();
  producer = createRequestProducer({ redisUrl: redis.url });
  broken = await startBrokenCluster(model);
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.kill()));
  await Promise.all([producer.close(), broken.close()]);
  await redis.close();
});

async function spawn(env: Record<string, string>): Promise<ServiceHandle> {
  const worker = await spawnService({
    name: `attention-worker-${workers.length}`,
    run: { entry },
    env: {
      MOIETY_MODEL: model,
      MOIETY_REDIS_URL: redis.url,
      MOIETY_WORKER_ID: `a${workers.length}`,
      MOIETY_ACTIVATION: "f32",
      MOIETY_THREADS: "1",
      MOIETY_KV_TOKENS: "1024",
      ...env,
    },
  });
  workers.push(worker);
  return worker;
}

/** Submits a request, and follows it for as long as it takes. */
async function tokensOf(name: string): Promise<readonly number[]> {
  const id = parseRequestId(name);
  const nowMs = Date.now();
  await producer.submit({
    id,
    tenant: parseTenantId("tenant"),
    cacheSalt: "",
    priority: 1,
    createdAtMs: nowMs,
    deadlineAtMs: nowMs + 60_000,
    promptTokens: Int32Array.from({ length: 12 }, (_, index) => index * 7),
    params: { ...params, temperature: 1, seed: "5", maxTokens: 8 },
  });
  const tokens: number[] = [];
  for await (const event of producer.follow(id, 0, AbortSignal.timeout(60_000))) {
    if (event.kind === "finish") expect(event.finish).toMatchObject({ reason: "length" });
    else tokens.push(...event.tokens.map(({ token }) => token));
  }
  return tokens;
}

describe("the process of an attention worker", () => {
  it("ends with 1 when every pass of it fails, and another serves what it held, as if nothing had been", async () => {
    const failing = await spawn({ MOIETY_ROUTER_ADDRESS: broken.routerAddress });
    await failing.waitReady();
    const following = tokensOf("held");
    await waitUntil("it has ended", () => failing.process.exit !== undefined, {
      timeoutMs: 30_000,
      describe: () => failing.process.describe(),
    });
    expect(failing.process.exit).toMatchObject({ code: 1 });
    expect(broken.failedCalls).toBeGreaterThan(3);
    await spawn({ MOIETY_COLOCATED: "true" });
    const tokens = await following;
    expect(tokens).toHaveLength(8);
    expect(await tokensOf("calm")).toEqual(tokens);
  }, 90_000);

  it("ends with 0 on SIGTERM, and without complaint, although Redis never answered", async () => {
    const silent = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => silent.listen(port, "127.0.0.1", resolve));
    const worker = await spawn({ MOIETY_COLOCATED: "true", MOIETY_REDIS_URL: `redis://127.0.0.1:${port}` });
    await waitUntil(
      "it waits for Redis alone",
      async () => {
        const ready = await fetch(`${worker.httpUrl}/ready`).catch(() => undefined);
        return (await ready?.text())?.includes('"missing":["redis: ') === true;
      },
      { timeoutMs: 30_000, describe: () => worker.process.describe() },
    );
    expect(await worker.terminate()).toEqual({ code: 0, signal: undefined });
    expect(worker.process.describe()).not.toContain("cannot go on");
    silent.close();
  }, 60_000);
});
