import type { ForwardRows } from "./forward-rows.js";

export interface MicroBatchOptions {
  /** Micro-batches that take turns: 1 when experts are in this process, otherwise 2. */
  readonly lanes: number;
  /** Fewer rows than this per micro-batch are never worth a split; whether more are is measured. */
  readonly minRows: number;
}

/** How many micro-batches of shared rows a step can be split into: 1 or more. */
export function mostMicroBatches(step: readonly ForwardRows[], { lanes, minRows }: MicroBatchOptions): number {
  const shared = step.filter((each) => !each.alone);
  return Math.max(1, Math.min(lanes, shared.length, Math.floor(rowsOf(shared) / minRows)));
}

/**
 * Splits a step into micro-batches of about equal rows. A sequence is wholly in one of them, since its later rows attend to its
 * earlier ones. Rows that must be alone get a micro-batch of their own.
 */
export function splitMicroBatches(step: readonly ForwardRows[], options: MicroBatchOptions): ForwardRows[][] {
  const alone = step.filter((each) => each.alone).map((each) => [each]);
  const shared = step.filter((each) => !each.alone);
  const lanes = mostMicroBatches(step, options);
  const groups: ForwardRows[][] = Array.from({ length: lanes }, () => []);
  for (const each of shared.toSorted((a, b) => b.rows.count - a.rows.count)) {
    const smallest = groups.reduce((best, group) => (rowsOf(group) < rowsOf(best) ? group : best));
    smallest.push(each);
  }
  return [...groups.filter((group) => group.length > 0), ...alone];
}

function rowsOf(group: readonly ForwardRows[]): number {
  return group.reduce((sum, { rows }) => sum + rows.count, 0);
}
