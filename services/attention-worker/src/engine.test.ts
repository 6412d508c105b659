import { systemClock } from "@moiety/core";
import type { LoggedToken } from "@moiety/queue";
import { createLogger } from "@moiety/runtime";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { type ClaimOptions, StandInClaim } from "../test/stand-in-claim.js";
import { StandInAttention, StandInExperts } from "../test/stand-in-model.js";
import { Engine } from "./engine.js";
import { Forward } from "./forward/forward.js";
import { KvCache } from "./kv-cache/kv-cache.js";

const vocabSize = 97;
const layers = 4;
const pageTokens = 4;
const slidingWindow = 6;

interface Setup {
  readonly fullPages?: number;
  readonly maxSequences?: number;
  readonly stepTokens?: number;
  readonly prefillChunkTokens?: number;
  readonly lanes?: number;
}

const engines: Engine[] = [];

function setup({ fullPages = 200, maxSequences = 8, stepTokens = 64, prefillChunkTokens = 16, lanes = 2 }: Setup = {}) {
  const slidingPages = maxSequences * 4 + Math.ceil(stepTokens / pageTokens) + 3;
  const shape = { layers, vocabSize, slidingWindow, pageTokens, fullPages, slidingPages };
  const attention = new StandInAttention(shape);
  const experts = new StandInExperts();
  const capacities: number[] = [];
  const broken: Error[] = [];
  const preempted = { count: 0 };
  const forward = new Forward({ attention, experts, layers }, { lanes, minRows: 2 });
  const engine = new Engine({
    cache: new KvCache(shape),
    forward,
    limits: { maxSequences, stepTokens, prefillChunkTokens, contextTokens: (fullPages - 1) * pageTokens },
    vocabSize,
    clock: systemClock,
    logger: createLogger({ service: "attention-worker", instance: "test", level: "silent" }),
    observer: {
      onStep: (step) => {
        preempted.count += step.preempted;
      },
      onPrefixLookup: () => {},
      onLayer: () => {},
      onPassFailed: () => {},
      onResume: () => {},
      onFinish: () => {},
      onGauges: () => {},
    },
    onCapacity: (claims) => capacities.push(claims),
    onBroken: (error) => broken.push(error),
  });
  engine.start();
  engines.push(engine);
  return { engine, attention, experts, capacities, broken, preempted };
}

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
});

const prompt = (length: number, salt = 1) => Array.from({ length }, (_, index) => (index * 31 + salt * 7) % vocabSize);

/** What a request yields when it has an engine of its own. */
async function alone(options: ClaimOptions): Promise<StandInClaim> {
  const { engine } = setup({ lanes: 1, prefillChunkTokens: 64 });
  const claim = new StandInClaim(options);
  engine.add(claim);
  await claim.over;
  await engine.stop();
  return claim;
}

describe("Engine", () => {
  it("gives a request the same tokens alone and among others, however prompts are cut and pages run out", async () => {
    const request = fc.record({
      length: fc.integer({ min: 1, max: 50 }),
      salt: fc.nat(2),
      maxTokens: fc.integer({ min: 1, max: 30 }),
      temperature: fc.constantFrom(0, 1),
      seed: fc.nat(1000),
      priority: fc.nat(2),
    });
    const size = fc.record({
      fullPages: fc.integer({ min: 24, max: 60 }),
      maxSequences: fc.integer({ min: 1, max: 8 }),
      stepTokens: fc.integer({ min: 8, max: 40 }),
      prefillChunkTokens: fc.integer({ min: 1, max: 20 }),
      lanes: fc.integer({ min: 1, max: 2 }),
      failEvery: fc.constantFrom(0, 37),
    });
    let preemptions = 0;
    await fc.assert(
      fc.asyncProperty(size, fc.array(request, { minLength: 1, maxLength: 10 }), async (limits, requests) => {
        const { engine, attention, experts, preempted, broken } = setup(limits);
        if (limits.failEvery > 0) experts.fails = (call) => call % limits.failEvery === 0;
        const options = requests.map((each, index) => ({
          id: `r-${index}`,
          prompt: prompt(each.length, each.salt),
          priority: each.priority,
          createdAtMs: index,
          params: { maxTokens: each.maxTokens, temperature: each.temperature, seed: String(each.seed) },
        }));
        const claims = options.map((each) => new StandInClaim(each));
        for (const claim of claims) engine.add(claim);
        const ends = await Promise.all(claims.map((claim) => claim.over));
        expect(ends.map((end) => end !== "released" && end.reason)).toEqual(claims.map(() => "length"));
        for (const [index, each] of options.entries()) expect(claims[index]?.ids).toEqual((await alone(each)).ids);
        await engine.stop();
        preemptions += preempted.count;
        expect(broken).toEqual([]);
        expect(attention.openBatches).toBe(0);
      }),
      { numRuns: 25 },
    );
    expect(preemptions).toBeGreaterThan(0);
  }, 60_000);

  it("goes on from every index of the log with the token that would have come", async () => {
    const options = { id: "r", prompt: prompt(23), params: { maxTokens: 20, temperature: 1 } };
    const whole = await alone(options);
    for (let index = 0; index <= 20; index++) {
      const { engine } = setup({ prefillChunkTokens: 5 });
      const claim = new StandInClaim({ ...options, log: whole.tokens.slice(0, index) });
      engine.add(claim);
      expect(await claim.over).toMatchObject({ reason: "length", outputTokens: 20 });
      expect(claim.ids).toEqual(whole.ids);
    }
  });

  it("ends at a stop token, which it logs, but not before the least number of tokens", async () => {
    const whole = await alone({ id: "r", prompt: prompt(9), params: { maxTokens: 30 } });
    const stop = whole.ids[4] ?? 0;
    const first = whole.ids.indexOf(stop);
    const stopped = await alone({ id: "r", prompt: prompt(9), params: { maxTokens: 30, stopTokenIds: [stop] } });
    expect(await stopped.over).toMatchObject({ reason: "stop", outputTokens: first + 1 });
    expect(stopped.ids).toEqual(whole.ids.slice(0, first + 1));
    const later = await alone({ id: "r", prompt: prompt(9), params: { maxTokens: 30, minTokens: 12, stopTokenIds: [stop] } });
    expect(later.ids.slice(0, 12)).not.toContain(stop);
    expect(later.ids.length).toBeGreaterThanOrEqual(12);
  });

  it("only writes the end when the log of its last holder lacked nothing else", async () => {
    const log: LoggedToken[] = [{ token: 3 }, { token: 5 }];
    const stopped = await alone({ id: "r", prompt: prompt(9), log, params: { maxTokens: 30, stopTokenIds: [5] } });
    expect(await stopped.over).toMatchObject({ reason: "stop", outputTokens: 2 });
    const full = await alone({ id: "r", prompt: prompt(9), log, params: { maxTokens: 2 } });
    expect(await full.over).toMatchObject({ reason: "length", outputTokens: 2 });
    expect(full.ids).toEqual([3, 5]);
  });

  it("reports the log-probabilities of a prompt, whatever the chunks, and reads no prefix cache for them", async () => {
    const options = { id: "r", prompt: prompt(23), params: { maxTokens: 1, topLogprobs: 2, promptLogprobs: true } };
    const whole = await alone(options);
    expect(whole.promptLogprobs?.map(({ token }) => token)).toEqual(prompt(23));
    expect(whole.promptLogprobs?.[0]).toEqual({ token: prompt(23)[0] });
    const { engine } = setup({ prefillChunkTokens: 3 });
    for (const id of ["a", "b"]) {
      const claim = new StandInClaim({ ...options, id });
      engine.add(claim);
      expect(await claim.over).toMatchObject({ cachedTokens: 0 });
      expect(claim.promptLogprobs).toEqual(whole.promptLogprobs);
    }
    const scored = await alone({ ...options, params: { ...options.params, maxTokens: 0 } });
    expect(scored.ids).toEqual([]);
    expect(scored.promptLogprobs).toEqual(whole.promptLogprobs);
  });

  it("finds the prefix of an earlier request of the same salt only", async () => {
    const { engine } = setup();
    const cached = [];
    for (const [id, cacheSalt] of [
      ["a", "x"],
      ["b", "x"],
      ["c", "y"],
    ] as const) {
      const claim = new StandInClaim({ id, cacheSalt, prompt: prompt(23) });
      engine.add(claim);
      const end = await claim.over;
      cached.push(end !== "released" && end.cachedTokens);
    }
    expect(cached).toEqual([0, 20, 0]);
  });

  it("drops a cancelled request although its pass hangs, and serves the others", async () => {
    const { engine, experts } = setup({ lanes: 1 });
    let open = () => {};
    experts.gate = new Promise((resolve) => {
      open = resolve;
    });
    const cancelled = new StandInClaim({ id: "a", prompt: prompt(9) });
    engine.add(cancelled);
    await systemClock.sleep(20);
    cancelled.cancel();
    await systemClock.sleep(20);
    expect(engine.held).toBe(0);
    const other = new StandInClaim({ id: "b", prompt: prompt(9) });
    engine.add(other);
    open();
    expect(await other.over).toMatchObject({ reason: "length" });
    expect(cancelled.ids).toEqual([]);
  });

  it("drops a request that another worker has taken over, and writes no end", async () => {
    const { engine } = setup();
    const claim = new StandInClaim({ id: "a", prompt: prompt(9), params: { maxTokens: 500 } });
    engine.add(claim);
    await systemClock.sleep(20);
    claim.outcome = "fenced";
    while (engine.held > 0) await systemClock.sleep(5);
    expect(await Promise.race([claim.over, systemClock.sleep(20)])).toBeUndefined();
  });

  it("goes by the newer claim when it is given the same request twice", async () => {
    const options = { id: "a", prompt: prompt(9), params: { maxTokens: 60 } };
    const { engine } = setup();
    const older = new StandInClaim(options);
    engine.add(older);
    for (let waited = 0; waited < 100 && older.tokens.length < 5; waited++) await systemClock.sleep(2);
    const newer = new StandInClaim({ ...options, log: older.tokens.slice() });
    engine.add(newer);
    expect(await newer.over).toMatchObject({ reason: "length" });
    expect(newer.ids).toEqual((await alone(options)).ids);
    expect(older.tokens.length).toBeLessThan(60);
    expect(engine.held).toBe(0);
  });

  it("pauses while Redis is away, with a bounded number of tokens ahead, and then loses none", async () => {
    const options = { id: "a", prompt: prompt(9), params: { maxTokens: 200 } };
    const { engine } = setup();
    const claim = new StandInClaim(options);
    let back = () => {};
    claim.outage = new Promise((resolve) => {
      back = resolve;
    });
    engine.add(claim);
    for (let waited = 0; waited < 100 && claim.pendingWrites < 64; waited++) await systemClock.sleep(10);
    await systemClock.sleep(50);
    expect(claim.pendingWrites).toBe(64);
    claim.outage = undefined;
    back();
    await claim.over;
    expect(claim.ids).toEqual((await alone(options)).ids);
  });

  it("ends a request whose logits are not finite, and no other", async () => {
    const fine = await alone({ id: "a", prompt: prompt(9), params: { maxTokens: 4 } });
    const { engine, attention } = setup();
    const bad = await alone({ id: "b", prompt: prompt(9, 2), params: { maxTokens: 4 } });
    attention.poison = bad.ids.find((token) => !fine.ids.includes(token));
    const claims = [fine, bad].map(
      ({ record }) => new StandInClaim({ id: record.id, prompt: [...record.promptTokens], params: { maxTokens: 4 } }),
    );
    for (const claim of claims) engine.add(claim);
    expect(await Promise.all(claims.map((claim) => claim.over))).toMatchObject([
      { reason: "length" },
      { reason: "error", error: { code: "INTERNAL" } },
    ]);
  });

  it("ends the one request that breaks every pass it is in, and spares those that shared one with it", async () => {
    const { engine, attention, broken } = setup({ lanes: 1 });
    attention.breaker = 96;
    const bad = new StandInClaim({ id: "bad", prompt: [1, 96, 2] });
    const goods = [1, 2, 3].map(
      (salt) => new StandInClaim({ id: `good-${salt}`, prompt: [salt, salt, salt], params: { maxTokens: 1 } }),
    );
    for (const claim of [bad, ...goods]) engine.add(claim);
    expect(await bad.over).toMatchObject({ reason: "error", error: { code: "INTERNAL" } });
    for (const good of goods) expect(await good.over).toMatchObject({ reason: "length" });
    expect(broken).toEqual([]);
  });

  it("stops when every pass fails, and gives its requests back rather than ending them", async () => {
    const { engine, experts, broken, capacities } = setup();
    experts.fails = () => true;
    const claims = [1, 2].map((salt) => new StandInClaim({ id: `r-${salt}`, prompt: prompt(9, salt) }));
    for (const claim of claims) engine.add(claim);
    for (let waited = 0; waited < 200 && broken.length === 0; waited++) await systemClock.sleep(10);
    expect(broken.map((error) => error.message)).toEqual(["the call failed"]);
    expect(capacities.at(-1)).toBe(0);
    await engine.stop();
    expect(await Promise.all(claims.map((claim) => claim.over))).toEqual(["released", "released"]);
  });

  it.each([
    { fault: "an empty prompt", options: { prompt: [] }, code: "INVALID_ARGUMENT" },
    { fault: "a token outside the vocabulary", options: { prompt: [1, vocabSize] }, code: "INVALID_ARGUMENT" },
    { fault: "a prompt longer than the context", options: { prompt: prompt(1000) }, code: "OUT_OF_RANGE" },
    { fault: "a seed that is no number", options: { prompt: [1], params: { seed: "x" } }, code: "INVALID_ARGUMENT" },
  ])("ends a request with $fault by a clear error", async ({ options, code }) => {
    const { engine } = setup();
    const claim = new StandInClaim({ id: "r", ...options });
    engine.add(claim);
    expect(await claim.over).toMatchObject({ reason: "error", error: { code } });
  });

  it("blames no request for its own fault when another one is cancelled while it finds out", async () => {
    const { engine, experts, broken } = setup();
    experts.fails = () => true;
    const [kept, cancelled] = ["kept", "cancelled"].map((id) => new StandInClaim({ id, prompt: prompt(9) }));
    const run = experts.run.bind(experts);
    experts.run = (call, signal) => {
      // One row: the canary's.
      if (call.rows === 1) cancelled?.cancel();
      return run(call, signal);
    };
    if (kept === undefined || cancelled === undefined) return;
    engine.add(kept);
    engine.add(cancelled);
    await expect.poll(() => broken.length).toBe(1);
    await engine.stop();
    expect(await kept.over).toBe("released");
  });

  it("generates up to the context, and no further", async () => {
    const { engine } = setup({ fullPages: 12 });
    const claim = new StandInClaim({ id: "r", prompt: prompt(10), params: { maxTokens: 5000 } });
    engine.add(claim);
    expect(await claim.over).toMatchObject({ reason: "length", outputTokens: 11 * pageTokens - 10 });
  });

  it("asks for as many claims as it could start, and for none while work waits", async () => {
    const { engine, experts, capacities } = setup({ maxSequences: 2 });
    let open = () => {};
    experts.gate = new Promise((resolve) => {
      open = resolve;
    });
    expect(capacities).toEqual([2]);
    const claims = [1, 2, 3].map((salt) => new StandInClaim({ id: `r-${salt}`, prompt: prompt(9, salt) }));
    for (const claim of claims) engine.add(claim);
    await systemClock.sleep(20);
    expect(capacities.at(-1)).toBe(3);
    open();
    await Promise.all(claims.map((claim) => claim.over));
    await systemClock.sleep(20);
    expect(capacities.at(-1)).toBe(2);
  });

  it("finishes quick requests when it drains, and gives back what takes longer", async () => {
    const { engine } = setup();
    const quick = new StandInClaim({ id: "quick", prompt: prompt(9), params: { maxTokens: 3 } });
    const slow = new StandInClaim({ id: "slow", prompt: prompt(9), params: { maxTokens: 700 } });
    engine.add(quick);
    engine.add(slow);
    await engine.drain(60);
    const late = new StandInClaim({ id: "late", prompt: prompt(9) });
    engine.add(late);
    await engine.stop();
    expect(await quick.over).toMatchObject({ reason: "length" });
    expect(await slow.over).toBe("released");
    expect(await late.over).toBe("released");
  });
});
