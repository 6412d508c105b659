import { AppError, invariant } from "@moiety/core";
import type { Sample, SampleRow } from "@moiety/kernels";
import type { PlacedDraw } from "./forward-rows.js";

type Draws = readonly (Sample | Error)[];

/**
 * Draws, once every mask is known. One result per draw, in their order: where nothing may be drawn, the reason. Without masks the
 * operation is queued at once.
 */
export async function drawMasked(
  draws: readonly PlacedDraw[],
  sample: (rows: readonly SampleRow[]) => Promise<Draws>,
): Promise<Draws> {
  if (draws.length === 0) return [];
  if (draws.every(({ mask }) => mask === undefined)) return sample(draws.map(({ row }) => row));
  const rows = await Promise.all(draws.map(maskedRow));
  const able = rows.filter((row): row is SampleRow => !(row instanceof AppError));
  const drawn = able.length === 0 ? [] : await sample(able);
  let next = 0;
  return rows.map((row) => {
    if (row instanceof AppError) return row;
    const result = drawn[next++];
    invariant(result !== undefined, "every row that is sampled has a result");
    return result;
  });
}

async function maskedRow({ row, mask }: PlacedDraw): Promise<SampleRow | AppError> {
  if (mask === undefined) return row;
  const step = await mask;
  if (step instanceof AppError) return step;
  if (step.kind === "mask") return { ...row, allowed: step.allowed };
  const message = "the output's grammar is complete, and no stop token has ended it";
  return new AppError("INVALID_ARGUMENT", message, { details: { constraint: true } });
}
