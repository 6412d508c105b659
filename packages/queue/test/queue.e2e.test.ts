import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Claim,
  createRequestConsumer,
  createRequestProducer,
  type RequestConsumer,
  type RequestConsumerOptions,
  type RequestProducer,
  type RequestProducerOptions,
} from "../src/index.js";
import { collect, finish, params, rawClient, request, tokens } from "./fixtures.js";
import { RedisServer, until } from "./redis-server.js";

let server: RedisServer;
let prefix: string;
let run = 0;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(async () => {
  await server.stop();
});
beforeEach(() => {
  prefix = `test-${run++}`;
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((side) => side.close()));
});

function producer(options: Partial<RequestProducerOptions> = {}): RequestProducer {
  const made = createRequestProducer({ redisUrl: server.url, prefix, ...options });
  opened.push(made);
  return made;
}

async function consumer(options: Partial<RequestConsumerOptions> = {}): Promise<{ side: RequestConsumer; claims: Claim[] }> {
  const side = createRequestConsumer({ redisUrl: server.url, prefix, capacity: 16, ...options });
  opened.push(side);
  const claims: Claim[] = [];
  await side.start((claim) => claims.push(claim));
  return { side, claims };
}

const first = async (claims: readonly Claim[]): Promise<Claim> => {
  await until(() => claims.length > 0);
  const claim = claims[0];
  if (!claim) throw new Error("no claim");
  return claim;
};

describe("one request", () => {
  it("carries the whole record to a consumer, and every token back in order", async () => {
    const gateway = producer();
    const record = request("cmpl:1", {
      cacheSalt: "salt",
      priority: 3,
      promptTokens: Int32Array.from([0, 201_087, 7]),
      params: { ...params, seed: "18446744073709551615", stopTokenIds: [1], logitBias: [[5, -100]], topLogprobs: 2 },
    });
    await gateway.submit(record);
    const { claims } = await consumer();
    const claim = await first(claims);
    expect(claim.record).toEqual(record);
    expect(claim.log).toEqual([]);
    const { done } = collect(gateway, record);
    expect(await claim.append(0, tokens(0, 2))).toBe("appended");
    expect(await claim.append(2, [{ token: 9, logprob: -0.1, top: [{ token: 9, logprob: -0.1 }] }])).toBe("appended");
    expect(await claim.finish(finish(3))).toBe("appended");
    expect(await done).toEqual({ tokens: [1000, 1001, 9], finish: finish(3) });
    await until(async () => (await gateway.depth()).active === 0);
    expect((await collect(gateway, record, 2).done).tokens).toEqual([9]);
  });

  it("skips what a log already has, whatever is appended how often", async () => {
    const gateway = producer();
    const record = request("r1");
    await gateway.submit(record);
    const claim = await first((await consumer()).claims);
    const outcomes = await Promise.all([
      claim.append(0, tokens(0, 3)),
      claim.append(0, tokens(0, 3)),
      claim.append(1, tokens(1, 4)),
      claim.append(5, []),
      claim.append(0, tokens(0, 1)),
    ]);
    expect(new Set(outcomes)).toEqual(new Set(["appended"]));
    await claim.finish(finish(5));
    expect((await collect(gateway, record).done).tokens).toEqual([1000, 1001, 1002, 1003, 1004]);
    expect(await claim.append(5, tokens(5, 1))).toBe("closed");
  });

  it("refuses a second request of the same id", async () => {
    const gateway = producer();
    await gateway.submit(request("twice"));
    await expect(gateway.submit(request("twice"))).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  });

  it("refuses parameters that no consumer could read, before anything is stored", async () => {
    const gateway = producer();
    const wrong = request("bad", { params: { ...params, seed: "-1" } });
    await expect(gateway.submit(wrong)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { fields: ["params.seed"] } });
    expect(await gateway.depth()).toEqual({ waiting: 0, active: 0 });
  });

  it("tells a follower of an unknown request that there is none", async () => {
    const gateway = producer();
    await expect(collect(gateway, request("nobody")).done).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("says how far a request is", async () => {
    const gateway = producer();
    const record = request("progress");
    expect(await gateway.progress(record.id)).toBeUndefined();
    await gateway.submit(record);
    expect(await gateway.progress(record.id)).toEqual({ started: false, finished: false });
    const claim = await first((await consumer()).claims);
    expect(await gateway.progress(record.id)).toEqual({ started: true, finished: false });
    await claim.append(0, tokens(0, 1));
    await claim.finish(finish(1));
    expect(await gateway.progress(record.id)).toEqual({ started: true, finished: true, finish: finish(1) });
  });

  it("carries the prompt's log-probabilities", async () => {
    const gateway = producer();
    const record = request("echo", { params: { ...params, promptLogprobs: true } });
    await gateway.submit(record);
    const claim = await first((await consumer()).claims);
    expect(await gateway.promptLogprobs(record.id)).toBeUndefined();
    const entries = [{ token: 1 }, { token: 2, logprob: -0.5 }, { token: 3, logprob: -0.25, top: [] }];
    expect(await claim.putPromptLogprobs(entries)).toBe("appended");
    expect(await gateway.promptLogprobs(record.id)).toEqual(entries);
  });

  it("follows a long log from the middle to its end", async () => {
    const gateway = producer();
    const record = request("long");
    await gateway.submit(record);
    const claim = await first((await consumer()).claims);
    await claim.append(0, tokens(0, 5_000));
    const { done } = collect(gateway, record, 100);
    await claim.append(5_000, tokens(5_000, 700));
    await claim.finish(finish(5_700));
    expect((await done).tokens).toHaveLength(5_600);
  });
});

describe("followers", () => {
  it("follow the requests of another gateway, too, from any index on and while they run", async () => {
    const [own, other] = [producer(), producer()];
    const record = request("foreign");
    await own.submit(record);
    const claim = await first((await consumer()).claims);
    await claim.append(0, tokens(0, 3));
    const followers = [collect(own, record), collect(other, record), collect(other, record, 1)];
    await until(() => followers.every(({ seen }) => seen.tokens.length >= 2));
    for (let index = 3; index < 40; index++) await claim.append(index, tokens(index, 1));
    // Each within much less than the silence after which a log is read.
    await until(() => followers.every(({ seen }) => seen.tokens.at(-1) === 1039), 1_000);
    await claim.finish(finish(40));
    const seen = await Promise.all(followers.map(({ done }) => done));
    expect(seen.map((each) => each.tokens.length)).toEqual([40, 40, 39]);
  });

  it("that come late find everything, and those that come twice, too", async () => {
    const gateway = producer();
    const record = request("late");
    await gateway.submit(record);
    const claim = await first((await consumer()).claims);
    await claim.append(0, tokens(0, 5));
    await claim.finish(finish(5));
    const expected = { tokens: tokens(0, 5).map(({ token }) => token), finish: finish(5) };
    expect(await collect(gateway, record).done).toEqual(expected);
    expect(await collect(gateway, record).done).toEqual(expected);
  });

  it("of many requests whose tokens are appended together each see their own", async () => {
    const gateway = producer();
    const records = Array.from({ length: 150 }, (_, index) => request(`many-${index}`));
    for (const record of records) await gateway.submit(record);
    const { claims } = await consumer({ capacity: 200 });
    await until(() => claims.length === records.length);
    const followers = records.map((record) => collect(gateway, record));
    const number = (claim: Claim) => Number(claim.record.id.slice("many-".length));
    for (let step = 0; step < 5; step++) {
      // Lengths differ, and some have nothing in a step.
      const appends = claims.map((claim) => {
        const count = number(claim) % 3;
        return claim.append(step * count, tokens(1_000 * number(claim) + step * count, count));
      });
      expect(new Set(await Promise.all(appends))).toEqual(new Set(["appended"]));
    }
    await Promise.all(claims.map((claim) => claim.finish(finish(5 * (number(claim) % 3)))));
    const seen = await Promise.all(followers.map(({ done }) => done));
    for (const [index, each] of seen.entries()) {
      expect(each.tokens).toEqual(tokens(1_000 * index, 5 * (index % 3)).map(({ token }) => token));
    }
  });

  it("see what comes before the end and nothing that comes after it, when an append is refused among others that are not", async () => {
    const gateway = producer();
    const records = ["kept", "lost", "ended"].map((id) => request(id));
    for (const record of records) await gateway.submit(record);
    const { claims } = await consumer();
    await until(() => claims.length === 3);
    const byId = (id: string) => claims.find((claim) => claim.record.id === id);
    const redis = rawClient(server.url);
    await redis.hincrby(`{${prefix}}:record:lost`, "fence", 1);
    await redis.hset(`{${prefix}}:record:ended`, "finish", JSON.stringify(finish(0)));
    await redis.quit();
    const outcomes = await Promise.all(["lost", "kept", "ended"].map((id) => byId(id)?.append(0, tokens(0, 2))));
    expect(outcomes).toEqual(["fenced", "appended", "closed"]);
    await byId("kept")?.finish(finish(2));
    expect((await collect(gateway, request("kept")).done).tokens).toEqual([1000, 1001]);
    expect((await collect(gateway, request("ended")).done).tokens).toEqual([]);
  });
});

describe("admission", () => {
  it("admits exactly as many as the bound, however many ask at once and through however many gateways", async () => {
    const gateways = [producer({ maxRequests: 10 }), producer({ maxRequests: 10 })];
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, (_, index) => gateways[index % 2]?.submit(request(`r-${index}`))),
    );
    const rooms = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(rooms.sort()).toEqual(Array.from({ length: 10 }, (_, room) => room));
    const refused = results.find((result) => result.status === "rejected");
    expect(refused?.reason).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      retryable: true,
      details: { retryAfterMs: expect.any(Number) },
    });
    expect((await gateways[0]?.depth())?.waiting).toBe(10);
  });

  it("serves a request that a Redis without our scripts admits only after its job was queued", async () => {
    const gateway = producer();
    const { claims } = await consumer();
    const redis = rawClient(server.url);
    for (let index = 0; index < 10; index++) {
      await gateway.submit(request(`r-${index}`));
      await redis.script("FLUSH");
    }
    await redis.quit();
    await until(() => claims.length === 10);
  });

  it("refuses what finds no room though there was much of it before, and leaves no job of it", async () => {
    const gateway = producer({ maxRequests: 100 });
    const other = producer({ maxRequests: 100 });
    await gateway.submit(request("first"));
    for (let index = 0; index < 99; index++) await other.submit(request(`other-${index}`));
    await expect(gateway.submit(request("late"))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await gateway.depth()).toEqual({ waiting: 100, active: 0 });
  });

  it("has room again when a request ends or is cancelled, and counts those being served", async () => {
    const gateway = producer({ maxRequests: 2 });
    await gateway.submit(request("a"));
    await gateway.submit(request("b"));
    const claim = await first((await consumer({ capacity: 1 })).claims);
    await expect(gateway.submit(request("c"))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await claim.finish(finish(0));
    await until(() =>
      gateway.submit(request("d")).then(
        () => true,
        () => false,
      ),
    );
    await gateway.cancel(request("d").id);
    await gateway.submit(request("e"));
  });
});

describe("order", () => {
  it("serves the most urgent first, and equals in the order of their arrival", async () => {
    const gateway = producer();
    const ids = ["low-1:5", "mid-1:2", "top-1:0", "low-2:5", "top-2:0", "mid-2:2"];
    for (const id of ids) await gateway.submit(request(id, { priority: Number(id.split(":")[1]) }));
    const { claims } = await consumer({ capacity: 1 });
    for (let served = 0; served < ids.length; served++) {
      await until(() => claims.length === served + 1);
      await claims[served]?.finish(finish(0));
    }
    expect(claims.map((claim) => claim.record.id)).toEqual(["top-1:0", "top-2:0", "mid-1:2", "mid-2:2", "low-1:5", "low-2:5"]);
  });

  it("holds no more claims than its capacity, and none at zero", async () => {
    const gateway = producer();
    for (let index = 0; index < 6; index++) await gateway.submit(request(`r-${index}`, { priority: index }));
    const { side, claims } = await consumer({ capacity: 0 });
    await sleep(300);
    expect(claims).toHaveLength(0);
    side.setCapacity(2);
    await until(() => claims.length === 2);
    await sleep(300);
    expect(claims).toHaveLength(2);
    side.setCapacity(0);
    await claims[0]?.finish(finish(0));
    await sleep(300);
    expect(claims).toHaveLength(2);
    side.setCapacity(3);
    await until(() => claims.length === 4);
    await sleep(300);
    expect(claims).toHaveLength(4);
  });

  it("takes a waiting job as soon as its capacity is raised, while another job is still being served", async () => {
    const gateway = producer();
    const { side, claims } = await consumer({ capacity: 1 });
    for (const id of ["first", "second", "third"]) await gateway.submit(request(id));
    await until(() => claims.length === 1);
    side.setCapacity(3);
    await until(() => claims.length === 3, 2_000);
  });

  it("takes a job that arrives while it is paused as soon as it is not", async () => {
    const gateway = producer();
    const { side, claims } = await consumer({ capacity: 1 });
    await sleep(100);
    side.setCapacity(0);
    await gateway.submit(request("late", { priority: 1 }));
    await sleep(1_500);
    expect(claims).toHaveLength(0);
    expect((await gateway.depth()).waiting).toBe(1);
    side.setCapacity(1);
    await until(() => claims.length === 1, 2_500);
  });
});

describe("cancelling", () => {
  it("removes a waiting job and closes its log", async () => {
    const gateway = producer();
    const record = request("waiting", { priority: 4 });
    await gateway.submit(record);
    const { done } = collect(gateway, record);
    await gateway.cancel(record.id);
    expect((await done).finish).toMatchObject({ reason: "cancelled", promptTokens: 3, outputTokens: 0 });
    expect(await gateway.depth()).toEqual({ waiting: 0, active: 0 });
  });

  it("reaches a running request at once, and completes its job", async () => {
    const gateway = producer();
    const record = request("running");
    await gateway.submit(record);
    const claim = await first((await consumer()).claims);
    await claim.append(0, tokens(0, 2));
    const { done } = collect(gateway, record);
    const startedMs = Date.now();
    await gateway.cancel(record.id);
    await until(() => claim.signal.aborted);
    expect(Date.now() - startedMs).toBeLessThan(500);
    expect(claim.signal.reason).toMatchObject({ code: "CANCELLED" });
    expect(await claim.append(2, tokens(2, 1))).toBe("closed");
    expect(await claim.finish(finish(3))).toBe("closed");
    expect(await done).toMatchObject({ tokens: [1000, 1001], finish: { reason: "cancelled", outputTokens: 2 } });
    await until(async () => (await gateway.depth()).active === 0);
  });

  it("is noticed without the message: by the next append, and by the next renewal of the lock", async () => {
    const gateway = producer();
    const { claims } = await consumer();
    const records = [request("append"), request("prefill")];
    for (const record of records) await gateway.submit(record);
    await until(() => claims.length === 2);
    const redis = rawClient(server.url);
    for (const { id } of records) await redis.hset(`{${prefix}}:record:${id}`, "holder", "someone-else");
    for (const { id } of records) await gateway.cancel(id);
    await redis.quit();
    expect(await claims[0]?.append(0, tokens(0, 1))).toBe("closed");
    await until(() => claims.every((claim) => claim.signal.aborted), 2_000);
    await until(async () => (await gateway.depth()).active === 0);
  });

  it("changes nothing about what has finished or never was", async () => {
    const gateway = producer();
    const record = request("done");
    await gateway.submit(record);
    const claim = await first((await consumer()).claims);
    await claim.finish(finish(0));
    await gateway.cancel(record.id);
    await gateway.cancel(record.id);
    await gateway.cancel(request("never").id);
    expect((await collect(gateway, record).done).finish?.reason).toBe("stop");
  });
});

describe("holding a claim", () => {
  it("ends a request that passes its deadline, and one that passed it while it waited", async () => {
    const gateway = producer();
    const waiting = request("waited", { deadlineAtMs: Date.now() - 1 });
    const running = request("running", { deadlineAtMs: Date.now() + 1_000 });
    await gateway.submit(waiting);
    await gateway.submit(running);
    const { claims } = await consumer();
    expect((await collect(gateway, waiting).done).finish?.error?.code).toBe("DEADLINE_EXCEEDED");
    expect((await collect(gateway, running).done).finish?.error?.code).toBe("DEADLINE_EXCEEDED");
    await until(() => claims[0]?.signal.aborted === true);
    expect(claims.map((claim) => claim.record.id)).toEqual(["running"]);
    await until(async () => (await gateway.depth()).active === 0);
  });

  it("keeps its job for longer than a lock lasts", async () => {
    const gateway = producer();
    await gateway.submit(request("slow"));
    const one = await consumer({ lockMs: 600, stalledCheckMs: 150 });
    const claim = await first(one.claims);
    const other = await consumer({ lockMs: 600, stalledCheckMs: 150 });
    await sleep(2_000);
    expect(other.claims).toHaveLength(0);
    expect(await claim.finish(finish(0))).toBe("appended");
  });

  it.each([0, 5])("gives a job of priority %i back at once, with its log", async (priority) => {
    const gateway = producer();
    const record = request("moving", { priority });
    await gateway.submit(record);
    const one = await consumer();
    const claim = await first(one.claims);
    const other = await consumer();
    await sleep(200);
    claim.append(0, tokens(0, 3)).catch(() => undefined);
    one.side.setCapacity(0);
    const startedMs = Date.now();
    await claim.release();
    const next = await first(other.claims);
    expect(Date.now() - startedMs).toBeLessThan(1_000);
    expect(next.log).toEqual(tokens(0, 3));
    expect([claim.resumes, next.resumes]).toEqual([undefined, "released"]);
    expect(await claim.append(3, tokens(3, 1))).toBe("fenced");
    expect(await next.append(3, tokens(3, 1))).toBe("appended");
  });

  it("gives everything back when it closes", async () => {
    const gateway = producer();
    for (let index = 0; index < 4; index++) await gateway.submit(request(`r-${index}`, { priority: index % 2 }));
    const one = await consumer();
    await until(() => one.claims.length === 4);
    await one.claims[0]?.append(0, tokens(0, 2));
    const startedMs = Date.now();
    await one.side.close();
    expect(Date.now() - startedMs).toBeLessThan(2_000);
    expect(await gateway.depth()).toEqual({ waiting: 4, active: 0 });
    const other = await consumer();
    await until(() => other.claims.length === 4, 2_000);
    expect(other.claims.find((claim) => claim.record.id === one.claims[0]?.record.id)?.log).toHaveLength(2);
  });

  it("tells gateways of workers whose beat is fresh", async () => {
    const gateway = producer();
    const { side } = await consumer();
    const beat = { workerId: "w1", modelFingerprint: "f", maxContextTokens: 100, running: 1, waiting: 2, kvUsage: 0.5 };
    await side.beat(beat);
    expect(await gateway.workers()).toEqual([beat]);
    expect(await gateway.ping()).toBe(true);
    await side.close();
    expect(await gateway.workers()).toEqual([]);
  });

  it("leaves out a beat that cannot be read", async () => {
    const gateway = producer();
    const { side } = await consumer();
    const beat = { workerId: "w1", modelFingerprint: "f", maxContextTokens: 100, running: 1, waiting: 2, kvUsage: 0.5 };
    await side.beat(beat);
    const raw = rawClient(server.url);
    for (const [id, text] of [
      ["w2", "no JSON"],
      ["w3", '{"workerId":"w3"}'],
    ] as const) {
      await raw.zadd(`{${prefix}}:beats`, Date.now(), id);
      await raw.set(`{${prefix}}:beat:${id}`, text);
    }
    expect(await gateway.workers()).toEqual([beat]);
    await raw.quit();
  });
});
