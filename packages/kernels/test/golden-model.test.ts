import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { availableLevels, type Batch, openKernels, type SamplingParams } from "../src/index.js";
import { LocalModel } from "./local-model.js";
import { GOLDEN, readGolden } from "./safetensors.js";

interface Case {
  readonly name: string;
  readonly checkpoint: string;
  readonly tokens: readonly number[];
  readonly greedy: readonly number[];
}

const cases = JSON.parse(readFileSync(`${GOLDEN}cases.json`, "utf8")) as Case[];
const PAGES = 48;
const PAGE_TOKENS = 8;
/** Pages in falling order, so that neighbours in the sequence are none in memory. */
const LAYOUT = {
  pages: Array.from({ length: PAGES }, (_, i) => PAGES - 1 - i),
  ring: Array.from({ length: PAGES }, (_, i) => (i * 5) % PAGES),
};
const GREEDY: SamplingParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 0n,
};

function largestDifference(actual: ArrayLike<number>, golden: ArrayLike<number>): number {
  expect(actual.length).toBe(golden.length);
  let largest = 0;
  for (let i = 0; i < golden.length; i++)
    largest = Math.max(largest, Math.abs((actual[i] ?? Number.NaN) - (golden[i] ?? Number.NaN)));
  return largest;
}

async function greedy(model: LocalModel, batch: Batch, counter: number): Promise<number> {
  const [sample] = await model.attention.sample(batch, [{ row: batch.rows - 1, params: GREEDY, counter }]);
  if (sample === undefined || sample instanceof Error) throw sample;
  return sample.token;
}

const runs = availableLevels().flatMap((level) => ["A", "A-sharded", "A-bf16", "B"].map((checkpoint) => ({ level, checkpoint })));

describe.each(runs)("checkpoint $checkpoint at level $level", ({ level, checkpoint }) => {
  const kernels = openKernels({ level, threads: 2 });
  const opened = LocalModel.open({
    kernels,
    directory: `${GOLDEN}ckpt/${checkpoint}`,
    activation: "f32",
    pageTokens: PAGE_TOKENS,
    pages: PAGES,
    shards: 2,
  });
  afterAll(() => kernels.close());

  it.each(cases.filter((golden) => golden.checkpoint === checkpoint.charAt(0)))(
    "computes what the reference does: $name",
    { timeout: 120_000 },
    async (golden) => {
      const model = await opened;
      const expected = readGolden(`golden/${golden.name}.safetensors`);
      const { hiddenSize, expertsPerToken } = model.checkpoint.config;
      const rows = golden.tokens.length;
      const experts = expected.i32("router_idx");
      let batch = await model.forward([{ layout: LAYOUT, positionStart: 0, tokens: golden.tokens }], (state, layer) => {
        const last = state.residual.subarray((rows - 1) * hiddenSize);
        const residual = expected.f32("resid_last").subarray(layer * hiddenSize, (layer + 1) * hiddenSize);
        const scale = Math.max(...residual.map(Math.abs));
        expect(largestDifference(last, residual)).toBeLessThan(1e-3 * scale);
        for (let row = 0; row < rows; row++) {
          const chosen = Array.from(state.expertIds.subarray(row * expertsPerToken, (row + 1) * expertsPerToken));
          const at = (layer * rows + row) * expertsPerToken;
          expect(chosen.sort()).toEqual(Array.from(experts.subarray(at, at + expertsPerToken)).sort());
        }
      });
      const logits = await model.attention.logits(batch, Int32Array.of(rows - 1));
      expect(largestDifference(logits, expected.f32("logits_last"))).toBeLessThan(1e-3);
      const all = await model.attention.logits(
        batch,
        Int32Array.from({ length: rows }, (_, row) => row),
      );
      const vocab = model.checkpoint.config.vocabSize;
      const best = Array.from({ length: rows }, (_, row) => {
        const of = all.subarray(row * vocab, (row + 1) * vocab);
        return of.indexOf(Math.max(...of));
      });
      expect(best).toEqual(Array.from(expected.i32("argmax")));

      const generated: number[] = [];
      for (let index = 0; index < golden.greedy.length; index++) {
        const token = await greedy(model, batch, index);
        generated.push(token);
        batch.release();
        batch = await model.forward([{ layout: LAYOUT, positionStart: rows + index, tokens: [token] }]);
      }
      batch.release();
      expect(generated).toEqual(golden.greedy);
    },
  );
});
