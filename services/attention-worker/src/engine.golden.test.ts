import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { golden, openRealEngine, type RealEngineOptions } from "../test/real-engine.js";
import { type ClaimOptions, StandInClaim } from "../test/stand-in-claim.js";
import { type NamedCase, readCases } from "./evaluation/cases.js";

type RealEngine = Awaited<ReturnType<typeof openRealEngine>>;
const opened: RealEngine[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((engine) => engine.close()));
});

async function open(options: Partial<RealEngineOptions> = {}): Promise<RealEngine> {
  const engine = await openRealEngine({ checkpoint: "B", activation: "bf16", ...options });
  opened.push(engine);
  return engine;
}

async function serve({ engine }: RealEngine, requests: readonly ClaimOptions[]): Promise<StandInClaim[]> {
  const claims = requests.map((request) => new StandInClaim(request));
  for (const claim of claims) engine.add(claim);
  await Promise.all(claims.map((claim) => claim.over));
  return claims;
}

/** Prompts of many lengths, some with a common beginning; greedy and sampled. */
function manyRequests(count: number): ClaimOptions[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `r-${index}`,
    prompt: Array.from({ length: 1 + ((index * 37) % 120) }, (_, position) =>
      position < 40 ? (position * 13) % 1024 : (position * 29 + index * 101) % 1024,
    ),
    createdAtMs: index,
    priority: index % 3,
    params: {
      maxTokens: 8 + (index % 17),
      seed: String(index),
      temperature: index % 2,
      topLogprobs: 2,
      ...(index % 5 === 0 ? { topP: 0.9, topK: 20, repetitionPenalty: 1.2, frequencyPenalty: 0.3 } : {}),
    },
  }));
}

/** What each request yields in an engine of its own, without others, without a cached prefix. */
async function eachAlone(requests: readonly ClaimOptions[]): Promise<StandInClaim[]> {
  const engine = await open({ lanes: 1, stepTokens: 512, prefillChunkTokens: 512 });
  const claims: StandInClaim[] = [];
  for (const request of requests) claims.push(...(await serve(engine, [{ ...request, cacheSalt: request.id }])));
  return claims;
}

describe("Engine on real kernels", () => {
  it.each(["A", "B"])("draws the reference's greedy tokens with checkpoint %s", async (checkpoint) => {
    const engine = await open({ checkpoint, activation: "f32" });
    const cases = (await readCases(join(golden, "cases.json"))).filter((each) => each.checkpoint === checkpoint);
    const requests = cases.map(({ name, tokens }) => ({ id: name, prompt: tokens, params: { maxTokens: 32 } }));
    const claims = await serve(engine, requests);
    expect(claims.map((claim) => claim.ids)).toEqual(cases.map((each: NamedCase) => each.forced));
  });

  it("gives 33 requests together, bit for bit, what each gets alone, whatever the chunks, pages and lanes", async () => {
    const requests = manyRequests(33);
    const alone = await eachAlone(requests);
    for (const options of [
      { prefillChunkTokens: 128 },
      { prefillChunkTokens: 7, stepTokens: 64 },
      { prefillChunkTokens: 33, pageTokens: 8, lanes: 1 },
    ]) {
      const together = await serve(await open(options), requests);
      expect(together.map((claim) => claim.tokens)).toEqual(alone.map((claim) => claim.tokens));
    }
  });

  it("gives the same when pages run out and requests are preempted", async () => {
    const requests = manyRequests(20);
    let preempted = 0;
    const engine = await open({
      kvTokens: 320,
      observer: {
        onStep: (step) => {
          preempted += step.preempted;
        },
      },
    });
    const together = await serve(engine, requests);
    expect(preempted).toBeGreaterThan(0);
    expect(together.map((claim) => claim.tokens)).toEqual((await eachAlone(requests)).map((claim) => claim.tokens));
  });

  it("resumes from every index of the log with the same tokens", async () => {
    const [request] = manyRequests(6).slice(5);
    if (request === undefined) throw new Error("there is a sixth request");
    const [whole] = await eachAlone([request]);
    const engine = await open({ prefillChunkTokens: 50 });
    const resumed = (whole?.tokens ?? []).map((_, index) => ({
      ...request,
      id: `resumed-${index}`,
      log: whole?.tokens.slice(0, index) ?? [],
    }));
    const claims = await serve(engine, resumed);
    expect(claims.length).toBe(13);
    for (const claim of claims) expect(claim.tokens).toEqual(whole?.tokens);
  });

  it("scores a prompt with the same log-probabilities, whatever the chunks", async () => {
    const request = {
      id: "scored",
      prompt: manyRequests(20)[19]?.prompt ?? [],
      params: { maxTokens: 1, topLogprobs: 3, promptLogprobs: true },
    };
    const [whole] = await serve(await open({ prefillChunkTokens: 256 }), [request]);
    const [cut] = await serve(await open({ prefillChunkTokens: 5 }), [request]);
    expect(whole?.promptLogprobs?.length).toBe(request.prompt.length);
    expect(whole?.promptLogprobs?.at(-1)).toMatchObject({ token: request.prompt.at(-1), logprob: expect.any(Number) });
    expect(whole?.promptLogprobs?.at(-1)?.top?.length).toBe(3);
    expect(cut?.promptLogprobs).toEqual(whole?.promptLogprobs);
  });
});
