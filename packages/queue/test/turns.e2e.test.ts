import { parseTenantId } from "@moiety/core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Claim,
  createRequestConsumer,
  createRequestProducer,
  MAX_PRIORITY,
  type RequestConsumer,
  type RequestProducer,
} from "../src/index.js";
import { finish, params, rawClient, request, tokens } from "./fixtures.js";
import { RedisServer, until } from "./redis-server.js";

let server: RedisServer;
let prefix: string;
let run = 0;
let gateway: RequestProducer;
let worker: RequestConsumer;
let claims: Claim[];
/** Ids in the order in which they were served. */
let served: string[];
let isServing: boolean;

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());
beforeEach(async () => {
  prefix = `turns-${run++}`;
  gateway = createRequestProducer({ redisUrl: server.url, prefix });
  worker = createRequestConsumer({ redisUrl: server.url, prefix, capacity: 1 });
  claims = [];
  served = [];
  isServing = false;
  await worker.start((claim) => {
    claims.push(claim);
    if (isServing) serve(claim).catch(() => undefined);
  });
  // Whoever comes now waits, until the test has all in the queue.
  await gateway.submit(request("first", { tenant: parseTenantId("nobody") }));
  await until(() => claims.length === 1);
});
afterEach(async () => {
  await Promise.all([gateway.close(), worker.close()]);
});

interface Wanted {
  readonly count: number;
  /** Of prompt and answer. */
  readonly tokens: number;
  readonly priority?: number;
  /** What it takes in the end; default: what was expected. */
  readonly takes?: number;
}

const takes = new Map<string, number>();

async function submit(tenant: string, { count, tokens: expectedTokens, priority = 1_000, takes: taken }: Wanted): Promise<void> {
  for (let index = 0; index < count; index++) {
    const id = `${tenant}:${String(index).padStart(3, "0")}`;
    const promptTokens = new Int32Array(10);
    takes.set(id, (taken ?? expectedTokens) - promptTokens.length);
    await gateway.submit(request(id, { tenant: parseTenantId(tenant), priority, expectedTokens, promptTokens, params }));
  }
}

async function serve(claim: Claim): Promise<void> {
  const { id } = claim.record;
  if (id !== "first") served.push(id);
  const outputTokens = takes.get(id) ?? 0;
  await claim.append(0, tokens(0, 1));
  await claim.finish({ ...finish(outputTokens), promptTokens: 10 });
}

/** Serves all that wait, one by one; gives the tenants in the order in which they were served. */
async function serveAll(count: number): Promise<string[]> {
  isServing = true;
  const [first] = claims;
  if (first) await serve(first);
  await until(() => served.length === count, 20_000);
  return served.map((id) => id.split(":")[0] ?? "");
}

/** Tokens that a tenant was served before another had all of its own. */
function tokensBefore(order: readonly string[], tenant: string, other: string, each: number): number {
  const last = order.lastIndexOf(other);
  return order.slice(0, last).filter((name) => name === tenant).length * each;
}

describe("turns", () => {
  it("round-robin let long prompts starve others: a tenant's hundred long requests let another's short one pass", async () => {
    await submit("long", { count: 100, tokens: 8_000 });
    await submit("short", { count: 1, tokens: 50 });
    const order = await serveAll(101);
    expect(order.indexOf("short")).toBeLessThanOrEqual(1);
  });

  it("round-robin let long prompts starve others: tenants are served the same number of tokens, not of requests", async () => {
    await submit("long", { count: 20, tokens: 4_000 });
    await submit("short", { count: 100, tokens: 200 });
    const order = await serveAll(120);
    // The short ones come to 20,000 tokens; by requests, the other would have been served all of its 80,000 meanwhile.
    const others = tokensBefore(order, "long", "short", 4_000);
    expect(others).toBeGreaterThanOrEqual(20_000 - 2 * 4_000);
    expect(others).toBeLessThanOrEqual(20_000 + 4_000);
  });

  it("are first come, first served within a tenant", async () => {
    await submit("a", { count: 30, tokens: 100 });
    await submit("b", { count: 30, tokens: 333 });
    await serveAll(60);
    for (const tenant of ["a", "b"]) {
      const own = served.filter((id) => id.startsWith(tenant));
      expect(own).toEqual([...own].sort());
    }
  });

  it("do not outweigh priorities, of batches least of all", async () => {
    await submit("greedy", { count: 3, tokens: 100_000 });
    await submit("batch", { count: 2, tokens: 10, priority: MAX_PRIORITY - 1 });
    await submit("urgent", { count: 3, tokens: 100_000, priority: 999 });
    await submit("modest", { count: 2, tokens: 10 });
    const order = await serveAll(10);
    expect(order.slice(0, 3)).toEqual(["urgent", "urgent", "urgent"]);
    expect(order.slice(-2)).toEqual(["batch", "batch"]);
    expect(order.indexOf("modest")).toBeLessThanOrEqual(4);
  });

  it("are not saved up: a tenant that comes late shares from then on, and makes nothing good", async () => {
    await submit("early", { count: 40, tokens: 1_000 });
    isServing = true;
    const [first] = claims;
    if (first) await serve(first);
    await until(() => served.length >= 20, 20_000);
    isServing = false;
    await until(() => claims.length > served.length + 1);
    const before = served.length;
    await submit("late", { count: 10, tokens: 1_000 });
    isServing = true;
    const held = claims.at(-1);
    if (held) await serve(held);
    await until(() => served.length === 50, 20_000);
    const order = served.slice(before).map((id) => id.split(":")[0] ?? "");
    const others = tokensBefore(order, "early", "late", 1_000);
    expect(others).toBeGreaterThanOrEqual(8_000);
    expect(others).toBeLessThanOrEqual(12_000);
  });

  it("are measured in the end by what was taken, not by what was expected", async () => {
    await submit("modest", { count: 1, tokens: 1_000, takes: 20 });
    await submit("others", { count: 9, tokens: 1 });
    while (!served.some((id) => id.startsWith("modest"))) {
      const { length } = claims;
      const claim = claims.at(-1);
      if (claim) await serve(claim);
      await until(() => claims.length > length);
    }
    await gateway.submit(request("next", { tenant: parseTenantId("modest"), priority: 1_000, expectedTokens: 1, params }));
    const redis = rawClient(server.url);
    expect(await redis.hget(`{${prefix}}:record:next`, "turn")).toBe("20");
    redis.disconnect();
  });

  it("are forgotten when nobody waits, and their clocks do not pile up", async () => {
    for (let tenant = 0; tenant < 30; tenant++) await submit(`t${tenant}`, { count: 2, tokens: 100 });
    await serveAll(60);
    const redis = rawClient(server.url);
    expect(await redis.zcard(`{${prefix}}:turns:1000`)).toBeLessThanOrEqual(31);
    isServing = false;
    await submit("alone", { count: 1, tokens: 100 });
    expect(await redis.zrange(`{${prefix}}:turns:1000`, 0, -1)).toEqual(expect.arrayContaining(["alone"]));
    expect(await redis.zcard(`{${prefix}}:turns:1000`)).toBeLessThanOrEqual(2);
    redis.disconnect();
  });

  it("leave a job in front that a worker gives back", async () => {
    await submit("a", { count: 3, tokens: 10 });
    await submit("b", { count: 1, tokens: 10 });
    const other = createRequestConsumer({ redisUrl: server.url, prefix, capacity: 1 });
    try {
      const taken: Claim[] = [];
      await other.start((claim) => taken.push(claim));
      await until(() => taken.length === 1);
      await other.close();
      await serveAll(4);
      expect(served[0]).toBe(taken[0]?.record.id);
    } finally {
      await other.close();
    }
  });

  it("can be counted: who waits, and with how many", async () => {
    await submit("a", { count: 3, tokens: 10 });
    await submit("b:c", { count: 2, tokens: 10, priority: 5 });
    expect(await gateway.waitingByTenant()).toEqual(
      new Map([
        ["b:c", 2],
        ["a", 3],
      ]),
    );
  });
});
