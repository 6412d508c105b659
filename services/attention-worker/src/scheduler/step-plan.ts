import { invariant } from "@moiety/core";
import type { Sequence } from "./sequence.js";

/** What one step computes of one sequence: `count` tokens from position `start`. */
export interface PlannedRows {
  readonly sequence: Sequence;
  readonly start: number;
  readonly count: number;
  /** Whether the last of the rows yields a new token: it is the newest token of its sequence. */
  readonly draws: boolean;
}

export interface StepPlan {
  readonly rows: readonly PlannedRows[];
  readonly tokens: number;
  /** Sequences that lost their pages to make this plan. */
  readonly preempted: readonly Sequence[];
}

/** What one step may still take; made for one step and thrown away with it. */
export class StepBudget {
  #left: number;
  readonly #rows = new Map<Sequence, PlannedRows>();
  readonly #preempted: Sequence[] = [];

  constructor(tokens: number) {
    this.#left = tokens;
  }

  get left(): number {
    return this.#left;
  }

  get hasPreempted(): boolean {
    return this.#preempted.length > 0;
  }

  take(rows: PlannedRows): void {
    invariant(rows.count > 0 && rows.count <= this.#left, "a step stays within its tokens");
    invariant(!this.#rows.has(rows.sequence), "a sequence is planned once a step");
    this.#left -= rows.count;
    this.#rows.set(rows.sequence, rows);
  }

  /** Takes a preempted sequence out of the plan again. */
  giveBack(sequence: Sequence): void {
    this.#preempted.push(sequence);
    const rows = this.#rows.get(sequence);
    if (rows === undefined) return;
    this.#rows.delete(sequence);
    this.#left += rows.count;
  }

  plan(): StepPlan {
    const rows = [...this.#rows.values()];
    return { rows, tokens: rows.reduce((sum, { count }) => sum + count, 0), preempted: this.#preempted };
  }
}
