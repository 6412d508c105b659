import { systemClock } from "@moiety/core";
import { createLogger } from "@moiety/runtime";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { type ClaimOptions, StandInClaim } from "../test/stand-in-claim.js";
import { mayFollow, StandInGrammar } from "../test/stand-in-grammar.js";
import { StandInAttention, StandInExperts } from "../test/stand-in-model.js";
import { Engine } from "./engine.js";
import { Forward } from "./forward/forward.js";
import { KvCache } from "./kv-cache/kv-cache.js";

const vocabSize = 97;
const layers = 4;
const pageTokens = 4;
const engines: Engine[] = [];

function setup({ fullPages = 200, lanes = 2, constrained = true } = {}) {
  const shape = { layers, vocabSize, slidingWindow: 6, pageTokens, fullPages, slidingPages: 60 };
  const attention = new StandInAttention(shape);
  const experts = new StandInExperts();
  const grammar = new StandInGrammar(vocabSize);
  const preempted = { count: 0 };
  const masks = { count: 0 };
  const nothing = () => undefined;
  const engine = new Engine({
    cache: new KvCache(shape),
    forward: new Forward({ attention, experts, layers }, { lanes, minRows: 2 }),
    limits: { maxSequences: 8, stepTokens: 64, prefillChunkTokens: 16, contextTokens: (fullPages - 1) * pageTokens },
    vocabSize,
    clock: systemClock,
    logger: createLogger({ service: "attention-worker", instance: "test", level: "silent" }),
    observer: {
      onStep: (step) => {
        preempted.count += step.preempted;
      },
      onPrefixLookup: nothing,
      onLayer: nothing,
      onPassFailed: nothing,
      onResume: nothing,
      onFinish: nothing,
      onGauges: nothing,
    },
    ...(constrained
      ? { decoding: { engine: grammar, clock: systemClock, observer: { onCompile: nothing, onMask: () => void masks.count++ } } }
      : {}),
    onCapacity: nothing,
    onBroken: (error) => expect.fail(error.message),
  });
  engine.start();
  engines.push(engine);
  return { engine, attention, experts, grammar, preempted, masks };
}

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
});

const held = { grammar: "sum", grammarEngine: "stand-in/1" };
const prompt = (length: number) => Array.from({ length }, (_, index) => (index * 31 + 7) % vocabSize);

async function serve(engine: Engine, options: ClaimOptions): Promise<StandInClaim> {
  const claim = new StandInClaim(options);
  engine.add(claim);
  await claim.over;
  return claim;
}

describe("an engine with grammars", () => {
  it("draws the same allowed tokens alone, among others, preempted, with passes that fail, and resumed anywhere", async () => {
    const request = fc.record({
      length: fc.integer({ min: 1, max: 40 }),
      maxTokens: fc.integer({ min: 1, max: 24 }),
      temperature: fc.constantFrom(0, 1),
      seed: fc.nat(1_000),
      constrained: fc.boolean(),
      cut: fc.double({ min: 0, max: 0.95, noNaN: true }),
    });
    /** More pages than there are. */
    const crowd = Array.from({ length: 8 }, (_, seed) => ({
      length: 40,
      maxTokens: 24,
      temperature: 1,
      seed,
      constrained: seed % 2 === 0,
      cut: 0.5,
    }));
    let preemptions = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 2, maxLength: 8 }), fc.constantFrom(0, 23), async (requests, failEvery) => {
        const { engine, experts, preempted } = setup({ fullPages: 34 });
        if (failEvery > 0) experts.fails = (call) => call % failEvery === 0;
        const options = requests.map(({ length, maxTokens, temperature, seed, constrained }, index) => ({
          id: `r-${index}`,
          prompt: prompt(length),
          createdAtMs: index,
          params: { maxTokens, temperature, seed: String(seed), ...(constrained ? held : {}) },
        }));
        const claims = await Promise.all(options.map((each) => serve(engine, each)));
        await engine.stop();
        preemptions += preempted.count;
        for (const [index, { ids, tokens }] of claims.entries()) {
          const own = requests[index];
          const each = options[index];
          if (own === undefined || each === undefined) continue;
          expect(ids).toHaveLength(own.maxTokens);
          if (own.constrained) expect(ids.every((token, at) => mayFollow(ids.slice(0, at), token))).toBe(true);
          const log = tokens.slice(0, Math.floor(own.cut * tokens.length));
          const other = setup({ lanes: 1 });
          expect((await serve(other.engine, { ...each, log })).ids).toEqual(ids);
          await other.engine.stop();
        }
      }),
      { numRuns: 12, examples: [[crowd, 0]] },
    );
    expect(preemptions).toBeGreaterThan(0);
  }, 60_000);

  it("computes one mask for each token, however often a pass is repeated", async () => {
    const { engine, experts, masks } = setup();
    experts.fails = (call) => call % 6 === 0;
    const claim = await serve(engine, { id: "r", prompt: prompt(5), params: { ...held, maxTokens: 10 } });
    expect(claim.ids).toHaveLength(10);
    expect(masks.count).toBeLessThanOrEqual(11);
  });

  it.each([
    ["faulty", 0, "the output cannot be held to its grammar: it is faulty"],
    ["broken:3", 3, "the output cannot be held to its grammar: it became too complex"],
    ["short:4", 4, "the output's grammar is complete, and no stop token has ended it"],
  ])("ends a request whose grammar is %s after %d tokens, and no other", async (grammar, count, message) => {
    const { engine } = setup();
    const others = [1, 2, 3].map((index) =>
      serve(engine, { id: `o-${index}`, prompt: prompt(index), params: { maxTokens: 12 } }),
    );
    const claim = await serve(engine, { id: "r", prompt: prompt(5), params: { ...held, grammar, maxTokens: 10 } });
    expect(await claim.over).toMatchObject({ reason: "error", error: { code: "INVALID_ARGUMENT", message } });
    expect(claim.ids).toHaveLength(count);
    for (const other of await Promise.all(others)) expect(await other.over).toMatchObject({ reason: "length", outputTokens: 12 });
  });

  it.each([
    [{ ...held, grammarEngine: "stand-in/2" }, "UNAVAILABLE", "stand-in/2"],
    [{ ...held, minTokens: 1 }, "INVALID_ARGUMENT", "minTokens"],
  ])("refuses %j", async (params, code, words) => {
    const { engine, grammar } = setup();
    const claim = await serve(engine, { id: "r", prompt: [1], params });
    expect(await claim.over).toMatchObject({ reason: "error", error: { code, message: expect.stringContaining(words) } });
    expect(grammar.compiled).toBe(0);
  });

  it("that has no engine refuses what needs one", async () => {
    const { engine } = setup({ constrained: false });
    const claim = await serve(engine, { id: "r", prompt: [1], params: held });
    expect(await claim.over).toMatchObject({ reason: "error", error: { code: "UNAVAILABLE" } });
  });

  it("compiles nothing for a request that its last holder had brought to its end", async () => {
    const { engine, grammar } = setup();
    const log = [{ token: 0 }, { token: 5 }];
    const claim = await serve(engine, { id: "r", prompt: [1], log, params: { ...held, stopTokenIds: [5] } });
    expect(await claim.over).toMatchObject({ reason: "stop" });
    expect(grammar.compiled).toBe(0);
  });
});
