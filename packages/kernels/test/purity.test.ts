import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type Activation, availableLevels, type KernelLevel, type Kernels, openKernels } from "../src/index.js";
import { type Chunk, type Layout, LocalModel } from "./local-model.js";
import { GOLDEN } from "./safetensors.js";

const PAGES = 64;
const CHECKPOINT = "B";
const WINDOW = 16;

/** Prompts of different lengths, beyond the window and across pages. */
const PROMPTS = [41, 18, 7, 1].map((length, which) =>
  Array.from({ length }, (_, i) => (which * 331 + i * i * 7 + i * 13) % 1000),
);

/** How the same prompts are computed. */
interface Plan {
  readonly threads: number;
  readonly pageTokens: number;
  /** Rows of a prompt per batch, taken in turn. */
  readonly chunkRows: readonly number[];
  /** Prompts in the order in which they stand in each batch. */
  readonly order: readonly number[];
  readonly shards: number;
  /** Order of pages in the pools. */
  readonly pages: readonly number[];
}

const plans: fc.Arbitrary<Plan> = fc.record({
  threads: fc.constantFrom(1, 2, 3),
  pageTokens: fc.constantFrom(4, 8, 16),
  chunkRows: fc.array(fc.integer({ min: 1, max: 41 }), { minLength: 1, maxLength: 4 }),
  order: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
  shards: fc.constantFrom(1, 2, 3),
  pages: fc.shuffledSubarray(
    Array.from({ length: PAGES }, (_, i) => i),
    { minLength: PAGES },
  ),
});

/** Every prompt alone, in one piece, on one thread. */
const PLAIN: Plan = {
  threads: 1,
  pageTokens: 16,
  chunkRows: [41],
  order: [0, 1, 2, 3],
  shards: 1,
  pages: Array.from({ length: PAGES }, (_, i) => i),
};

const opened = new Map<string, { readonly kernels: Kernels; readonly model: Promise<LocalModel> }>();
afterAll(async () => {
  for (const { kernels } of opened.values()) await kernels.close();
});

function modelFor(level: KernelLevel, activation: Activation, { threads, pageTokens, shards }: Plan): Promise<LocalModel> {
  const key = [level, activation, threads, pageTokens, shards].join();
  const known = opened.get(key);
  if (known !== undefined) return known.model;
  const kernels = openKernels({ level, threads });
  const directory = `${GOLDEN}ckpt/${CHECKPOINT}`;
  const model = LocalModel.open({ kernels, directory, activation, pageTokens, pages: PAGES, shards });
  opened.set(key, { kernels, model });
  return model;
}

function layoutsOf({ pages, pageTokens, chunkRows }: Plan): Layout[] {
  const longestChunk = Math.max(...chunkRows);
  let next = 0;
  return PROMPTS.map((prompt) => {
    const blocks = Math.ceil(prompt.length / pageTokens);
    const full = pages.slice(next, next + blocks);
    // The same block elsewhere in the other pool; wide enough for the window and a chunk, and then used again.
    const ring = full.slice(0, Math.ceil((WINDOW + longestChunk) / pageTokens) + 1).reverse();
    next += blocks;
    return { pages: full, ring };
  });
}

/** Bits of the residual stream and of the logits of every prompt's every row. */
async function bitsOf(level: KernelLevel, activation: Activation, plan: Plan, together: boolean): Promise<Uint32Array[]> {
  const model = await modelFor(level, activation, plan);
  const layouts = layoutsOf(plan);
  const { hiddenSize, vocabSize } = model.checkpoint.config;
  const bits = PROMPTS.map((prompt) => new Uint32Array(prompt.length * (hiddenSize + vocabSize)));
  const groups = together ? [plan.order] : plan.order.map((which) => [which]);
  for (const group of groups) {
    const done = PROMPTS.map(() => 0);
    for (let step = 0; group.some((which) => (done[which] ?? 0) < (PROMPTS[which]?.length ?? 0)); step++) {
      const rows = plan.chunkRows[step % plan.chunkRows.length] ?? 1;
      const active = group.filter((which) => (done[which] ?? 0) < (PROMPTS[which]?.length ?? 0));
      const chunks = active.map((which): Chunk => {
        const start = done[which] ?? 0;
        const layout = layouts[which] as Layout;
        return { layout, positionStart: start, tokens: (PROMPTS[which] ?? []).slice(start, start + rows) };
      });
      const batch = await model.forward(chunks);
      const logits = await model.attention.logits(
        batch,
        Int32Array.from({ length: batch.rows }, (_, row) => row),
      );
      let row = 0;
      for (const [i, which] of active.entries()) {
        const start = done[which] ?? 0;
        const count = chunks[i]?.tokens.length ?? 0;
        const width = hiddenSize + vocabSize;
        const target = bits[which] as Uint32Array;
        for (let r = 0; r < count; r++, row++) {
          const residual = batch.residual.slice(row * hiddenSize, (row + 1) * hiddenSize);
          target.set(new Uint32Array(residual.buffer), (start + r) * width);
          const own = logits.slice(row * vocabSize, (row + 1) * vocabSize);
          target.set(new Uint32Array(own.buffer), (start + r) * width + hiddenSize);
        }
        done[which] = start + count;
      }
      batch.release();
    }
  }
  return bits;
}

const modes = availableLevels().flatMap((level) =>
  (["f32", "bf16", "int8"] as const).map((activation) => ({ level, activation })),
);

describe.each(modes)("at level $level with $activation activations", ({ level, activation }) => {
  it("gives a row the same bits whatever the batch, the chunks, the threads, the shards and the pages", {
    timeout: 120_000,
  }, async () => {
    const expected = await bitsOf(level, activation, PLAIN, false);
    expect(expected[0]?.some((word) => word !== 0)).toBe(true);
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const actual = await bitsOf(level, activation, plan, true);
        for (const [which, bits] of expected.entries())
          expect(Buffer.compare(Buffer.from(bits.buffer), Buffer.from(actual[which]?.buffer ?? new ArrayBuffer(0)))).toBe(0);
      }),
      { numRuns: level === "scalar" ? 6 : 15 },
    );
  });
});

it.each(["f32", "bf16", "int8"] as const)(
  "gives the same bits at every level with %s activations",
  { timeout: 120_000 },
  async (activation) => {
    const [first, ...others] = await Promise.all(availableLevels().map((level) => bitsOf(level, activation, PLAIN, false)));
    for (const other of others) expect(other).toEqual(first);
  },
);
