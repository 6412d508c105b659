import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Claim,
  createRequestConsumer,
  createRequestProducer,
  type RequestConsumer,
  type RequestConsumerOptions,
  type RequestProducer,
  type RequestProducerOptions,
} from "../src/index.js";
import { encodeToken } from "../src/token-codec.js";
import { collect, finish, rawClient, request, tokens } from "./fixtures.js";
import { RedisServer, until } from "./redis-server.js";

const prefix = "failures";
let server: RedisServer;
const opened: { close(): Promise<void> }[] = [];
const children: ChildProcess[] = [];

beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await Promise.all(opened.splice(0).map((side) => side.close()));
  await server.stop();
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

async function nth(claims: readonly Claim[], index: number, timeoutMs = 8_000): Promise<Claim> {
  await until(() => claims.length > index, timeoutMs);
  const claim = claims[index];
  if (!claim) throw new Error("no claim");
  return claim;
}

/** A consumer in a process of its own that claims one request and appends a token every 20 ms. */
async function holderProcess(count: number): Promise<{ child: ChildProcess; output: () => string }> {
  const script = new URL("./holder-process.mjs", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, server.url, prefix], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  if (!child.stdout) throw new Error("no stdout");
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  await until(() => output.split("appended").length > count, 15_000);
  return { child, output: () => output };
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

describe("a consumer that dies", () => {
  it("loses its jobs to another within four seconds, which goes on from the log", async () => {
    const gateway = producer();
    const record = request("orphan");
    await gateway.submit(record);
    const { done } = collect(gateway, record);
    const { child } = await holderProcess(3);
    const { claims } = await consumer();
    await kill(child);
    const killedMs = Date.now();
    const claim = await nth(claims, 0);
    expect(Date.now() - killedMs).toBeLessThan(4_000);
    const start = claim.log.length;
    expect(start).toBeGreaterThanOrEqual(3);
    await claim.append(start, tokens(start, 2));
    await claim.finish(finish(start + 2));
    expect((await done).tokens).toEqual(tokens(0, start + 2).map(({ token }) => token));
  });

  it("does not get its jobs back by crashing on them: a request that kills its holders is given up", async () => {
    const gateway = producer();
    const record = request("poison");
    await gateway.submit(record);
    const { done } = collect(gateway, record);
    const redis = rawClient(server.url);
    const { claims, side } = await consumer({ maxTakeovers: 3 });
    for (let death = 0; death < 3; death++) {
      await nth(claims, death);
      await loseLock("poison");
    }
    expect((await done).finish).toMatchObject({ reason: "error", error: { code: "ABORTED" } });
    expect(claims).toHaveLength(3);
    await until(async () => (await gateway.depth()).active === 0);
    await redis.quit();
    await side.close();

    async function loseLock(id: string): Promise<void> {
      await redis.hincrby(`{${prefix}}:record:${id}`, "fence", 1);
      await redis.del(`{${prefix}}:requests:r/${id}:lock`);
    }
  });
});

describe("a consumer that only seemed dead", () => {
  it("is fenced off: what it appends after its awakening changes nothing", async () => {
    const gateway = producer();
    const record = request("contested");
    await gateway.submit(record);
    const { child: zombie, output } = await holderProcess(2);
    const { claims } = await consumer();
    zombie.kill("SIGSTOP");
    const heir = await nth(claims, 0);
    const start = heir.log.length;
    expect(start).toBeGreaterThanOrEqual(2);
    zombie.kill("SIGCONT");
    await until(() => output().includes("fenced"));
    await sleep(300);
    expect(output()).not.toContain("closed");
    await heir.append(start, tokens(start, 2));
    await heir.finish(finish(start + 2));
    expect((await collect(gateway, record).done).tokens).toEqual(tokens(0, start + 2).map(({ token }) => token));
  });
});

describe("a Redis that is killed and comes back", () => {
  it("pauses appends and followers, and loses and repeats nothing", async () => {
    const gateway = producer();
    const { side, claims } = await consumer();
    const records = Array.from({ length: 8 }, (_, index) => request(`r-${index}`));
    for (const record of records) await gateway.submit(record);
    const follows = records.map((record) => collect(gateway, record));
    await until(() => claims.length === 8);
    let stop = false;
    let appended = 0;
    const writers = claims.map(async (claim) => {
      let next = 0;
      const pending: Promise<string>[] = [];
      while (!stop) {
        pending.push(claim.append(next, tokens(next, 1)));
        next += 1;
        await sleep(3);
      }
      expect(new Set(await Promise.all(pending))).toEqual(new Set(["appended"]));
      expect(await claim.finish(finish(next))).toBe("appended");
      appended += next;
    });
    for (let kills = 0; kills < 2; kills++) {
      await sleep(300);
      await server.kill();
      await sleep(400);
      expect(side.backlogTokens()).toBeGreaterThan(0);
      await server.restart();
    }
    await sleep(300);
    stop = true;
    await Promise.all(writers);
    const seen = await Promise.all(follows.map(({ done }) => done));
    expect(seen.reduce((sum, { tokens: all }) => sum + all.length, 0)).toBe(appended);
    for (const one of seen) expect(one.tokens).toEqual(tokens(0, one.tokens.length).map(({ token }) => token));
    expect(side.backlogTokens()).toBe(0);
    await until(async () => (await gateway.depth()).active === 0);
  });

  it("does not cost a holder its claims, even when every lock has run out meanwhile", async () => {
    const gateway = producer();
    await gateway.submit(request("kept"));
    const one = await consumer({ lockMs: 800, stalledCheckMs: 200 });
    const claim = await nth(one.claims, 0);
    const other = await consumer({ lockMs: 800, stalledCheckMs: 200 });
    await sleep(500);
    await server.kill();
    await sleep(1_500);
    await server.restart();
    await sleep(2_500);
    expect(claim.signal.aborted).toBe(false);
    expect(other.claims).toHaveLength(0);
    expect(one.claims).toHaveLength(1);
    expect(await claim.finish(finish(0))).toBe("appended");
  });

  it("is told again what it forgot", async () => {
    const gateway = producer();
    const record = request("forgetful");
    await gateway.submit(record);
    const claim = await nth((await consumer()).claims, 0);
    await claim.append(0, tokens(0, 1_500));
    const redis = rawClient(server.url);
    await redis.ltrim(`{${prefix}}:log:forgetful`, 0, 699);
    await redis.hset(`{${prefix}}:record:forgetful`, "fence", "1");
    const { done } = collect(gateway, record);
    expect(await claim.append(1_500, tokens(1_500, 1))).toBe("appended");
    await redis.ltrim(`{${prefix}}:log:forgetful`, 0, 99);
    expect(await claim.finish(finish(1_501))).toBe("appended");
    await redis.quit();
    expect((await done).tokens).toHaveLength(1_501);
    expect((await collect(gateway, record).done).tokens).toEqual(tokens(0, 1_501).map(({ token }) => token));
  });

  it("makes a submit wait, and fail with UNAVAILABLE when it stays away", async () => {
    const gateway = producer({ patienceMs: 1_500 });
    await gateway.submit(request("before"));
    await server.kill();
    expect(await gateway.ping()).toBe(false);
    const patient = gateway.submit(request("during"));
    await sleep(300);
    await server.restart();
    await patient;
    await server.written();
    await server.kill();
    await expect(gateway.submit(request("lost"))).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    await server.restart();
    await until(() => gateway.ping());
    const { claims } = await consumer();
    await until(() => claims.length >= 2);
    await sleep(300);
    expect(claims.map((claim) => claim.record.id)).toEqual(["before", "during"]);
  });

  it("does not keep a consumer from closing", async () => {
    const gateway = producer({ patienceMs: 500 });
    await gateway.submit(request("held"));
    const { side, claims } = await consumer();
    const claim = await nth(claims, 0);
    await server.kill();
    const appending = claim.append(0, tokens(0, 1));
    await side.close();
    expect(await appending).toBe("fenced");
    expect(claim.signal.aborted).toBe(true);
  });
});

describe("a follower whose messages are lost", () => {
  it("finds what it missed by reading the log", async () => {
    const gateway = producer({ rereadMs: 200 });
    const record = request("deaf");
    await gateway.submit(record);
    const claim = await nth((await consumer()).claims, 0);
    const { seen, done } = collect(gateway, record);
    await claim.append(0, tokens(0, 1));
    await until(() => seen.tokens.length === 1);
    const redis = rawClient(server.url);
    await redis.call("CLIENT", "KILL", "TYPE", "pubsub");
    await claim.append(1, tokens(1, 1));
    await until(() => seen.tokens.length === 2, 2_000);
    await redis.rpush(`{${prefix}}:log:deaf`, encodeToken({ token: 1002 }));
    await until(() => seen.tokens.length === 3, 2_000);
    await redis.publish(`{${prefix}}:news:deaf`, Buffer.from([0, 7, 0, 0, 0, 0, 1, 0, 0, 0]));
    await claim.append(2, tokens(2, 2));
    await redis.quit();
    await claim.finish(finish(4));
    expect((await done).tokens).toEqual([1000, 1001, 1002, 1003]);
  });

  it("never keeps more than a bounded number of them, and still misses nothing", async () => {
    const gateway = producer();
    const record = request("slow-reader");
    await gateway.submit(record);
    const claim = await nth((await consumer()).claims, 0);
    const iterator = gateway.follow(record.id, 0, new AbortController().signal)[Symbol.asyncIterator]();
    await claim.append(0, tokens(0, 1));
    const got: number[] = [];
    const head = await iterator.next();
    if (!head.done && head.value.kind === "tokens") got.push(...head.value.tokens.map(({ token }) => token));
    for (let index = 1; index < 1_000; index++) await claim.append(index, tokens(index, 1));
    await claim.finish(finish(1_000));
    for (let step = await iterator.next(); !step.done; step = await iterator.next()) {
      if (step.value.kind === "tokens") got.push(...step.value.tokens.map(({ token }) => token));
    }
    expect(got).toEqual(tokens(0, 1_000).map(({ token }) => token));
  });

  it("ends as soon as its signal aborts, even while Redis is away", async () => {
    const gateway = producer();
    const record = request("left");
    await gateway.submit(record);
    const abort = new AbortController();
    const reading = (async () => {
      for await (const _ of gateway.follow(record.id, 0, abort.signal)) throw new Error("nothing was appended");
    })();
    await sleep(100);
    await server.kill();
    await sleep(100);
    abort.abort();
    await reading;
  });
});
