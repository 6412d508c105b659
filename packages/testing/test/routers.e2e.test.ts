import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ClusterHandle, openSse, type ServiceHandle, startCluster, waitUntil } from "../src/index.js";

const run = promisify(execFile);
const moiety = fileURLToPath(new URL("../../cli/bin/moiety.js", import.meta.url));
const PATIENCE_MS = 90_000;
const TOKENS = 200;
const DISTURBED_CHUNK = 8;

let dir: string;
let cluster: ClusterHandle;
let undisturbed: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "moiety-routers-"));
  const model = join(dir, "tiny");
  await run(process.execPath, [moiety, "make-checkpoint", model]);
  cluster = await startCluster({ model, routers: 2 });
  undisturbed = await complete();
}, 120_000);

afterAll(async () => {
  await cluster?.close();
  await rm(dir, { recursive: true, force: true });
});

beforeEach(async () => {
  await cluster.waitReady();
}, PATIENCE_MS);

interface Status {
  readonly role: "leader" | "standby";
  readonly leader?: string;
  readonly term?: number;
  readonly placement?: { readonly activeEpoch: number };
  readonly members?: readonly { readonly state: string }[];
}

async function statusOf({ httpUrl }: ServiceHandle): Promise<Status | undefined> {
  const answer = await fetch(`${httpUrl}/status`, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
  return answer?.ok ? ((await answer.json()) as Status) : undefined;
}

/** The router that leads, when the others stand by. */
async function leaderAndStandby(): Promise<{ leader: ServiceHandle; standby: ServiceHandle; status: Status }> {
  return waitUntil("one router leads", async () => {
    const roles = await Promise.all(cluster.routers.map(async (router) => ({ router, status: await statusOf(router) })));
    const [leader, ...more] = roles.filter(({ status }) => status?.role === "leader");
    const [standby] = roles.filter(({ status }) => status?.role === "standby");
    if (leader?.status === undefined || standby === undefined || more.length > 0) return undefined;
    return { leader: leader.router, standby: standby.router, status: leader.status };
  });
}

/** Streams one greedy completion and calls `disturb` after a few chunks. */
async function complete(disturb?: () => Promise<unknown>): Promise<string> {
  const body = {
    model: "tiny",
    prompt: "The share of each is",
    max_tokens: TOKENS,
    temperature: 0,
    stream: true,
    ignore_eos: true,
  };
  const response = await openSse(`${cluster.url}/v1/completions`, { body });
  expect(response.status, response.body).toBe(200);
  let [text, chunks] = ["", 0];
  for await (const { data } of response.events) {
    if (data === "[DONE]") break;
    const chunk: { choices?: { text: string }[]; error?: unknown } = JSON.parse(data);
    expect(chunk.error).toBeUndefined();
    text += chunk.choices?.[0]?.text ?? "";
    chunks += 1;
    if (chunks === DISTURBED_CHUNK) await disturb?.();
  }
  return text;
}

/** An expert worker that has just started holds nothing: until a router tells it what to hold, the stream waits for it. */
async function restartExpertWorker(): Promise<void> {
  await cluster.expertWorkers[0]?.restart();
}

async function expectSame(disturb: () => Promise<unknown>): Promise<void> {
  expect(await complete(disturb).catch((error) => `${error}`), cluster.describe()).toBe(undisturbed);
}

describe("a cluster of two routers", () => {
  it("has one leader that all workers have joined, and a standby that is ready and says who leads", {
    timeout: PATIENCE_MS,
  }, async () => {
    const { leader, standby, status } = await leaderAndStandby();
    expect(status.members?.map(({ state }) => state)).toEqual(["live", "live", "live"]);
    expect((await statusOf(standby))?.leader).toMatch(new RegExp(`^${leader.name}/`));
    expect(await standby.isReady()).toBe(true);
    expect(await leader.metrics()).toMatch(/moiety_router_leader\{.*\} 1/);
    const ofStandby = await standby.metrics();
    expect(ofStandby).toMatch(/moiety_router_leader\{.*\} 0/);
    expect(ofStandby).not.toMatch(/^moiety_router_(members|epoch|experts_\w+)\{/m);
  });

  it("gives the same tokens when the leader is killed, and a worker needs the next", { timeout: PATIENCE_MS }, async () => {
    const before = await leaderAndStandby();
    await expectSame(async () => {
      await before.leader.kill();
      await restartExpertWorker();
    });
    expect((await statusOf(before.standby))?.role).toBe("leader");
    await before.leader.restart();
    const after = await leaderAndStandby();
    expect(after.leader).toBe(before.standby);
    expect(after.status.term).toBe((before.status.term ?? 0) + 1);
    expect(after.status.placement?.activeEpoch).toBeGreaterThanOrEqual(before.status.placement?.activeEpoch ?? 0);
  });

  it("gives the same tokens when the leader is cut off, another is elected, and it comes back", {
    timeout: PATIENCE_MS,
  }, async () => {
    const before = await leaderAndStandby();
    await expectSame(async () => {
      before.leader.freeze();
      await restartExpertWorker();
      await waitUntil("another leads", async () => (await statusOf(before.standby))?.role === "leader");
    });
    before.leader.thaw();
    const after = await leaderAndStandby();
    expect(after.leader).toBe(before.standby);
    await waitUntil("all workers have joined it", async () => (await statusOf(after.leader))?.members?.length === 3);
  });

  it("gives the same tokens when the leader hands over and leaves", { timeout: PATIENCE_MS }, async () => {
    const before = await leaderAndStandby();
    await expectSame(async () => {
      expect(await before.leader.terminate()).toEqual({ code: 0, signal: undefined });
      await restartExpertWorker();
    });
    await before.leader.restart();
    expect((await leaderAndStandby()).leader).toBe(before.standby);
  });

  it("keeps its leader, and gives the same tokens, when Redis goes away and comes back", { timeout: PATIENCE_MS }, async () => {
    const before = await leaderAndStandby();
    await expectSame(async () => {
      await cluster.redis.kill();
      await waitUntil("the standby cannot take over", async () => !(await before.standby.isReady()));
      expect(await before.leader.isReady()).toBe(true);
      await cluster.redis.restart();
    });
    const after = await leaderAndStandby();
    expect([after.leader, after.status.term]).toEqual([before.leader, before.status.term]);
  });
});
