import type { MaskOutcome } from "@moiety/grammar";
import type { BatchSpec, SampleRow, SequenceRows } from "@moiety/kernels";
import type { TraceSpan } from "@moiety/runtime";
import type { PlannedRows } from "../scheduler/step-plan.js";

/** A draw from one of a sequence's planned rows. */
export type Draw = Omit<SampleRow, "row"> & {
  /** Which of the planned rows, from 0. */
  readonly offset: number;
  /** What may be drawn, once it is known. Absent: what `allowed` says. */
  readonly mask?: Promise<MaskOutcome>;
};

/** A draw by its row of the batch. */
export interface PlacedDraw {
  readonly row: SampleRow;
  readonly mask?: Promise<MaskOutcome>;
}

/** Planned rows, with what is to be drawn from them. */
export interface ForwardRows {
  readonly rows: PlannedRows;
  readonly draws: readonly Draw[];
  /** Aborts when nobody waits for the result any more. */
  readonly signal: AbortSignal;
  /** Whether the rows must not share a pass with others, since a pass with them has failed. */
  readonly alone: boolean;
  /** Absent: the step of this sequence is not traced. */
  readonly trace?: TraceSpan | undefined;
}

/** Puts the rows of several sequences one behind the other. */
export function toBatchSpec(planned: readonly PlannedRows[]): BatchSpec {
  const tokens = new Int32Array(planned.reduce((sum, { count }) => sum + count, 0));
  const sequences: SequenceRows[] = [];
  let rowStart = 0;
  for (const { sequence, start, count } of planned) {
    const { full, sliding, slidingFirstBlock } = sequence.pages;
    // One row is what nearly every sequence has in a step.
    if (count === 1) tokens[rowStart] = sequence.tokens.at(start) ?? 0;
    else tokens.set(sequence.tokens.view(start, start + count), rowStart);
    sequences.push({
      rowStart,
      rowCount: count,
      positionStart: start,
      fullPages: full.view(),
      slidingPages: sliding.view(),
      slidingFirstBlock,
    });
    rowStart += count;
  }
  return { tokens, sequences };
}

/** The draws of a batch, by row of the batch, in the order of the sequences and of their draws. */
export function placeDraws(group: readonly ForwardRows[]): PlacedDraw[] {
  const placed: PlacedDraw[] = [];
  let rowStart = 0;
  for (const { rows, draws } of group) {
    for (const draw of draws) {
      // With the draw's own fields, which the kernels do not look at: leaving them out costs more than all the rest of this.
      const row = { ...draw, row: rowStart + draw.offset };
      placed.push(draw.mask === undefined ? { row } : { row, mask: draw.mask });
    }
    rowStart += rows.count;
  }
  return placed;
}

/** The span under which a group's calls are made: that of one of its sequences, to which those of others refer. */
export function traceOf(group: readonly ForwardRows[]): TraceSpan | undefined {
  let first: TraceSpan | undefined;
  for (const { trace } of group) {
    if (trace === undefined) continue;
    if (first === undefined) first = trace;
    else trace.link(first);
  }
  return first;
}
