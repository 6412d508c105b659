import { systemClock } from "@moiety/core";
import { createLogger } from "@moiety/runtime";
import { type RedisHandle, startRedis, waitUntil } from "@moiety/testing";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Election } from "./election.js";
import { RedisLease } from "./redis-lease.js";

const LEASE_MS = 400;
const logger = createLogger({ service: "test", instance: "test", level: "silent" });
const elections: Election[] = [];
let redis: RedisHandle;
let client: Redis;
let tests = 0;
let prefix: string;

beforeAll(async () => {
  redis = await startRedis();
  client = new Redis(redis.url);
  client.on("error", () => {});
});
afterEach(async () => {
  await Promise.all(elections.splice(0).map((election) => election.close()));
});
afterAll(async () => {
  client.disconnect();
  await redis.close();
});

interface Candidate {
  readonly election: Election;
  /** What `onChange` was told. */
  readonly changes: (number | undefined)[];
}

function newCluster(): void {
  tests += 1;
  prefix = `cluster-${tests}`;
}

function compete(holder: string, started = true): Candidate {
  const changes: (number | undefined)[] = [];
  const lease = new RedisLease({ redisUrl: redis.url, prefix, holder, leaseMs: LEASE_MS });
  const onChange = (term: number | undefined) => changes.push(term);
  const election = new Election({ lease, leaseMs: LEASE_MS, clock: systemClock, logger, onChange });
  elections.push(election);
  if (started) election.start();
  return { election, changes };
}

const leads = ({ election }: Candidate) => election.state.kind === "leading";
const term = ({ election: { state } }: Candidate) => (state.kind === "leading" ? state.term : undefined);
const untilLeads = (candidate: Candidate) => waitUntil("it leads", () => leads(candidate));

describe("an election", () => {
  it("has one winner, and the others know who it is", async () => {
    newCluster();
    const all = ["a", "b", "c"].map((name) => compete(name));
    await waitUntil("one leads and two know it", () => {
      const leaders = all.flatMap(({ election: { state } }) => (state.kind === "standby" ? [state.leader] : []));
      return all.filter(leads).length === 1 && leaders.length === 2 && leaders.every((leader) => leader !== undefined);
    });
    const winner = ["a", "b", "c"][all.findIndex(leads)];
    for (const { election } of all.filter((each) => !leads(each))) expect(election.state).toMatchObject({ leader: winner });
  });

  it("is won by another, with a greater term, when the leader gives up or is silent", async () => {
    newCluster();
    const first = compete("a");
    await untilLeads(first);
    const second = compete("b");
    await waitUntil("it sees the leader", () => second.election.state.kind === "standby" && second.election.state.leader === "a");
    await first.election.close();
    await untilLeads(second);
    expect(term(second)).toBe(2);
    expect(first.election.state.kind).toBe("closed");
  });

  it("begins without a wait where there never was a leader, and waits where one may have been cut off", async () => {
    newCluster();
    await client.set(`{${prefix}}:router:term`, "7");
    const late = compete("a");
    await waitUntil("it has asked", () => late.election.state.kind === "standby" && late.election.state.fault === undefined);
    const begunMs = performance.now();
    await untilLeads(late);
    expect(performance.now() - begunMs).toBeGreaterThan(LEASE_MS / 2);
    expect(term(late)).toBe(8);
  });

  it("is not held while Redis is away: who leads goes on, and gets its lease back", async () => {
    newCluster();
    const [first, second] = [compete("a"), compete("b")];
    await waitUntil("one leads", () => leads(first) || leads(second));
    const [leader, standby] = leads(first) ? [first, second] : [second, first];
    await redis.kill();
    await waitUntil(
      "the standby notices",
      () => standby.election.state.kind === "standby" && standby.election.state.fault !== undefined,
    );
    await systemClock.sleep(3 * LEASE_MS);
    expect(leads(leader)).toBe(true);
    await redis.restart();
    await waitUntil(
      "the standby sees the leader",
      () => standby.election.state.kind === "standby" && standby.election.state.leader !== undefined,
    );
    expect([leader.changes, standby.changes]).toEqual([[1], []]);
  });

  it("of which Redis has lost all memory leaves the leader in its place and its term", async () => {
    newCluster();
    const leader = compete("a");
    await untilLeads(leader);
    await client.del(`{${prefix}}:router:lease`, `{${prefix}}:router:term`);
    await waitUntil("the term is there again", async () => (await client.get(`{${prefix}}:router:term`)) === "1");
    expect(leader.changes).toEqual([1]);
  });

  it("deposes a leader that hears of another, from Redis or from a worker", async () => {
    newCluster();
    const leader = compete("a");
    await untilLeads(leader);
    await client.set(`{${prefix}}:router:lease`, "5 b", "PX", LEASE_MS);
    await client.set(`{${prefix}}:router:term`, "5");
    await waitUntil("it steps down", () => leader.changes.length > 1);
    await waitUntil("it leads again", () => term(leader) === 6);
    leader.election.hear(6);
    expect(term(leader)).toBe(6);
    leader.election.hear(9);
    expect(leads(leader)).toBe(false);
    await waitUntil("it leads again, under a greater term", () => term(leader) === 10);
    expect(leader.changes).toEqual([1, undefined, 6, undefined, 10]);
  });

  it("is not needed by the only router", () => {
    const changes: (number | undefined)[] = [];
    const onChange = (term: number | undefined) => changes.push(term);
    const alone = new Election({ lease: undefined, leaseMs: 0, clock: systemClock, logger, onChange });
    elections.push(alone);
    alone.start();
    alone.hear(7);
    expect(alone.state).toMatchObject({ kind: "leading", term: 0 });
    expect(changes).toEqual([0]);
  });
});
