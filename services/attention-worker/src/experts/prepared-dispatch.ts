import { DispatchFrame } from "@moiety/proto";
import type { PlannedDispatch, RowChoices } from "./dispatch-plan.js";

/** A planned dispatch with its own copy of the rows: the caller's memory is no longer needed. */
export interface PreparedDispatch<Target> extends PlannedDispatch<Target> {
  readonly frame: DispatchFrame;
}

/** Copies a dispatch's rows out of `source`, `[rows, rowBytes]`, into a message of its own. */
export function prepareDispatch<Target>(
  planned: PlannedDispatch<Target>,
  source: Uint8Array,
  rowBytes: number,
): PreparedDispatch<Target> {
  const { rows, pairRows, experts } = planned;
  const frame = new DispatchFrame({ rowCount: rows.length, pairCount: pairRows.length, rowBytes });
  const target = frame.rows;
  for (let start = 0; start < rows.length; ) {
    const first = rows[start] as number;
    let end = start + 1;
    while (rows[end] === first + end - start) end += 1;
    target.set(source.subarray(first * rowBytes, (first + end - start) * rowBytes), start * rowBytes);
    start = end;
  }
  for (let pair = 0; pair < pairRows.length; pair += 1) frame.setPair(pair, pairRows[pair] as number, experts[pair] as number);
  return { ...planned, frame };
}

/** What a prepared dispatch asked for, to be planned again with its frame's rows as the source. */
export function choicesOf(prepared: PreparedDispatch<unknown>): RowChoices {
  return { rows: prepared.pairRows, experts: prepared.experts, slots: prepared.slots };
}
