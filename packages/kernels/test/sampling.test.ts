import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { availableLevels, openPrimitives, type Sample, type SampleRow, type SamplingParams } from "../src/index.js";

const NEUTRAL: SamplingParams = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 7n,
};

const primitives = openPrimitives(availableLevels().at(-1) ?? "scalar");

interface Draw {
  readonly params?: Partial<SamplingParams>;
  readonly row?: Partial<SampleRow>;
}

function draw(logits: ArrayLike<number>, { params, row }: Draw = {}): Sample {
  return primitives.sample({
    logits: Float32Array.from(logits),
    row: { row: 0, counter: 0, params: { ...NEUTRAL, ...params }, ...row },
  });
}

/** How often each token is drawn at counters 0, 1, ... */
function histogram(logits: readonly number[], draws: number, options: Draw = {}): number[] {
  const counts = logits.map(() => 0);
  for (let counter = 0; counter < draws; counter++) {
    const { token } = draw(logits, { ...options, row: { ...options.row, counter } });
    counts[token] = (counts[token] ?? 0) + 1;
  }
  return counts;
}

function softmax(logits: readonly number[], temperature = 1): number[] {
  const max = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp((logit - max) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Pearson's statistic; tokens of probability 0 must not occur at all. */
function chiSquare(counts: readonly number[], probabilities: readonly number[]): number {
  const draws = counts.reduce((sum, count) => sum + count, 0);
  let statistic = 0;
  for (const [token, probability] of probabilities.entries()) {
    const count = counts[token] ?? 0;
    if (probability === 0) expect(count).toBe(0);
    else statistic += (count - draws * probability) ** 2 / (draws * probability);
  }
  return statistic;
}

/** Only these tokens, with their probabilities scaled up to 1. */
function among(probabilities: readonly number[], tokens: readonly number[]): number[] {
  const total = tokens.reduce((sum, token) => sum + (probabilities[token] ?? 0), 0);
  return probabilities.map((probability, token) => (tokens.includes(token) ? probability / total : 0));
}

const LOGITS = [1, 0.5, 2, -1, 0, 1.5, -0.5, 2.5];
/** 99.9th percentile of chi-square with 7 degrees of freedom; the seeds are fixed, so a pass stays a pass. */
const LIMIT = 24.3;
const DRAWS = 20_000;

describe("the distribution of draws", () => {
  it.each([0.5, 1, 1.7])("is the softmax at temperature %d", (temperature) => {
    expect(chiSquare(histogram(LOGITS, DRAWS, { params: { temperature } }), softmax(LOGITS, temperature))).toBeLessThan(LIMIT);
  });

  it("is the same for draws that differ in the seed alone", () => {
    const counts = LOGITS.map(() => 0);
    for (let seed = 0n; seed < 20_000n; seed++) {
      const { token } = draw(LOGITS, { params: { seed: (seed * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn } });
      counts[token] = (counts[token] ?? 0) + 1;
    }
    expect(chiSquare(counts, softmax(LOGITS))).toBeLessThan(LIMIT);
  });

  it("keeps the top-k", () => {
    expect(chiSquare(histogram(LOGITS, DRAWS, { params: { topK: 3 } }), among(softmax(LOGITS), [7, 2, 5]))).toBeLessThan(LIMIT);
  });

  it("keeps the fewest tokens that reach top-p", () => {
    const probabilities = softmax(LOGITS);
    const two = (probabilities[7] ?? 0) + (probabilities[2] ?? 0);
    const below = histogram(LOGITS, DRAWS, { params: { topP: two - 1e-4 } });
    expect(chiSquare(below, among(probabilities, [7, 2]))).toBeLessThan(LIMIT);
    const above = histogram(LOGITS, DRAWS, { params: { topP: two + 1e-4 } });
    expect(chiSquare(above, among(probabilities, [7, 2, 5]))).toBeLessThan(LIMIT);
  });

  it("measures top-p over what top-k left", () => {
    const three = among(softmax(LOGITS), [7, 2, 5]);
    const topP = (three[7] ?? 0) + 1e-3;
    const counts = histogram(LOGITS, DRAWS, { params: { topK: 3, topP } });
    expect(chiSquare(counts, among(three, [7, 2]))).toBeLessThan(LIMIT);
  });

  it("keeps tokens of at least min-p times the largest probability, at the temperature", () => {
    const probabilities = softmax(LOGITS, 2);
    const minP = (probabilities[0] ?? 0) / (probabilities[7] ?? 1) - 1e-4;
    const counts = histogram(LOGITS, DRAWS, { params: { temperature: 2, minP } });
    expect(chiSquare(counts, among(probabilities, [7, 2, 5, 0]))).toBeLessThan(LIMIT);
  });

  it("never draws a token that the mask forbids", () => {
    const counts = histogram(LOGITS, DRAWS, { row: { allowed: Uint32Array.of(0b0010_1001) } });
    expect(chiSquare(counts, among(softmax(LOGITS), [0, 3, 5]))).toBeLessThan(LIMIT);
  });
});

describe("a draw", () => {
  it("is a pure function of logits, parameters, seed and counter, at every level", () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: 3, maxLength: 300 }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.nat(),
        fc.record({
          temperature: fc.constantFrom(0, 0.3, 1, 2),
          topK: fc.nat(10),
          topP: fc.double({ min: 0, max: 1, noNaN: true }),
          minP: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        (values, seed, counter, chosen) => {
          const logits = Float32Array.from(values);
          const row: SampleRow = { row: 0, counter, params: { ...NEUTRAL, ...chosen, seed }, topLogprobs: 3 };
          const [first, ...others] = availableLevels().map((level) => openPrimitives(level).sample({ logits, row }));
          expect(first?.token).toBeLessThan(values.length);
          for (const other of others) expect(other).toEqual(first);
          expect(primitives.sample({ logits, row })).toEqual(first);
        },
      ),
    );
  });

  it("uses Philox4x32-10: a published answer", () => {
    // Random123's known answer for key and counter of zeros begins 6627e8d5 e169c58d: 0.39904... of the unit interval.
    const words = (0x6627e8d5 * 2 ** 32 + 0xe169c58d) / 2 ** 64;
    const uniform = Array.from({ length: 1000 }, () => 0);
    const { token } = draw(uniform, { params: { seed: 0n } });
    expect(token).toBe(Math.floor(words * 1000));
  });

  it("at temperature 0 is the largest logit, the lowest id of equals", () => {
    expect(draw([1, 3, 3, 2], { params: { temperature: 0 } }).token).toBe(1);
  });

  it("at a temperature near 0 is the largest logit", () => {
    for (const temperature of [1e-3, 1e-30, 1e-60]) expect(draw(LOGITS, { params: { temperature } }).token).toBe(7);
  });

  it("takes the lowest ids of equals into the top-k", () => {
    expect(histogram([0, 0, 0, 0], 200, { params: { topK: 2 } }).slice(2)).toEqual([0, 0]);
  });

  it("takes one token at top-p 0", () => {
    expect(histogram(LOGITS, 100, { params: { topP: 0 } })[7]).toBe(100);
  });
});

describe("logits before the draw", () => {
  const greedy = (logits: readonly number[], options: Draw) =>
    draw(logits, { ...options, params: { ...options.params, temperature: 0 } }).token;

  it("gain the bias", () => {
    const bias = { ids: Int32Array.of(3, 7), values: Float32Array.of(3, -0.6) };
    expect(greedy(LOGITS, { row: { bias } })).toBe(2);
    expect(greedy(LOGITS, { row: { bias: { ids: Int32Array.of(3), values: Float32Array.of(3.6) } } })).toBe(3);
  });

  it("lose the presence penalty once and the frequency penalty per occurrence, in the output alone", () => {
    const row = { promptTokens: Int32Array.of(0, 0, 0), outputTokens: Int32Array.of(1, 1) };
    expect(greedy([1, 1.5, 0], { params: { presencePenalty: 0.4 }, row })).toBe(1);
    expect(greedy([1, 1.5, 0], { params: { presencePenalty: 0.6 }, row })).toBe(0);
    expect(greedy([1, 1.5, 0], { params: { frequencyPenalty: 0.2 }, row })).toBe(1);
    expect(greedy([1, 1.5, 0], { params: { frequencyPenalty: 0.3 }, row })).toBe(0);
  });

  it("are divided, or multiplied if negative, by the repetition penalty for prompt and output", () => {
    const row = { promptTokens: Int32Array.of(0), outputTokens: Int32Array.of(1) };
    expect(greedy([4, 3, 1.9], { params: { repetitionPenalty: 2 }, row })).toBe(0);
    expect(greedy([4, 3, 2.1], { params: { repetitionPenalty: 2 }, row })).toBe(2);
    expect(greedy([-1, -1.5, -1.9], { params: { repetitionPenalty: 2 }, row })).toBe(2);
  });

  it("are masked after the bias", () => {
    const bias = { ids: Int32Array.of(0), values: Float32Array.of(100) };
    expect(greedy([0, 1, 2], { row: { bias, allowed: Uint32Array.of(0b010) } })).toBe(1);
  });
});

describe("log-probabilities", () => {
  it("are those of the raw logits, whatever the parameters do", () => {
    const expected = softmax(LOGITS).map(Math.log);
    const sample = draw(LOGITS, {
      params: { temperature: 0, repetitionPenalty: 3 },
      row: { topLogprobs: 3, outputTokens: Int32Array.of(7), allowed: Uint32Array.of(0b1000) },
    });
    expect(sample.token).toBe(3);
    expect(sample.logprob).toBeCloseTo(expected[3] ?? 0, 5);
    expect(sample.top?.map(({ token }) => token)).toEqual([7, 2, 5]);
    for (const { token, logprob } of sample.top ?? []) expect(logprob).toBeCloseTo(expected[token] ?? 0, 5);
  });

  it("are absent unless asked for, and only the drawn one's for a count of 0", () => {
    expect(draw(LOGITS)).toEqual({ token: expect.any(Number) });
    expect(draw(LOGITS, { row: { topLogprobs: 0 } }).top).toEqual([]);
  });
});

describe("what cannot be sampled", () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("is refused: a logit of %d", (bad) => {
    expect(() => draw([0, bad, 1])).toThrow("not finite");
  });

  it.each<[string, Draw]>([
    ["no token is allowed", { row: { allowed: Uint32Array.of(0) } }],
    ["rows[0].params.temperature is -1", { params: { temperature: -1 } }],
    ["rows[0].params.topP is 1.5", { params: { topP: 1.5 } }],
    ["rows[0].params.minP is nan", { params: { minP: Number.NaN } }],
    ["rows[0].params.repetitionPenalty is 0", { params: { repetitionPenalty: 0 } }],
    ["seed: a bigint of 0 to 2^64 - 1 was expected", { params: { seed: -1n } }],
    ["outputTokens[1] is 8", { params: { presencePenalty: 1 }, row: { outputTokens: Int32Array.of(0, 8) } }],
    ["bias has 1 ids and 2 values", { row: { bias: { ids: Int32Array.of(0), values: Float32Array.of(0, 1) } } }],
    ["bias.ids[0] is -1", { row: { bias: { ids: Int32Array.of(-1), values: Float32Array.of(0) } } }],
    ["topLogprobs is 9", { row: { topLogprobs: 9 } }],
    ["allowed is empty", { row: { allowed: new Uint32Array(0) } }],
    ["counter must not be negative", { row: { counter: -1 } }],
  ])("is refused: %s", (message, options) => {
    expect(() => draw(LOGITS, options)).toThrow(message);
  });
});
