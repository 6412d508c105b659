import type { AttentionEngine, Batch } from "@moiety/kernels";

/** Rows unembedded at a time: a row of a large vocabulary is most of a megabyte. */
const ROWS_AT_A_TIME = 32;

/** Hands over the logits `[vocab]` of rows `first ..` of a batch, in order. The array is valid during the call only. */
export async function readLogits(
  attention: AttentionEngine,
  batch: Batch,
  rows: { readonly first: number; readonly vocabSize: number; visit(logits: Float32Array, row: number): void },
): Promise<void> {
  for (let start = rows.first; start < batch.rows; start += ROWS_AT_A_TIME) {
    const wanted = Int32Array.from({ length: Math.min(ROWS_AT_A_TIME, batch.rows - start) }, (_, index) => start + index);
    const logits = await attention.logits(batch, wanted);
    wanted.forEach((row, index) => {
      rows.visit(logits.subarray(index * rows.vocabSize, (index + 1) * rows.vocabSize), row);
    });
  }
}

/** The greatest logit's token, the lowest of equals. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  logits.forEach((logit, token) => {
    if (logit > (logits[best] ?? 0)) best = token;
  });
  return best;
}

/** log(sum(exp(logits))), in double precision. */
export function logSumExp(logits: Float32Array): number {
  const max = logits[argmax(logits)] ?? 0;
  return max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
}
