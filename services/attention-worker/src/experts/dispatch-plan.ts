import { invariant } from "@moiety/core";

/** What is still to be computed, one entry per (row, expert) pair; entries of one row stand together. */
export interface RowChoices {
  /** Row of the source that holds the activations. */
  readonly rows: ArrayLike<number>;
  readonly experts: ArrayLike<number>;
  /** Where the result belongs: `batchRow * expertsPerToken + choice`. */
  readonly slots: ArrayLike<number>;
}

/** One message to one target: every row once, every pair in the order of the choices. */
export interface PlannedDispatch<Target> {
  /** Absent: no live worker has these experts. */
  readonly target: Target | undefined;
  /** Rows of the source, in the order in which they travel. */
  readonly rows: Uint32Array;
  /** Per pair: which of `rows`. */
  readonly pairRows: Uint16Array;
  /** Per pair. */
  readonly experts: Uint16Array;
  /** Per pair. */
  readonly slots: Uint32Array;
}

export interface PlanOptions<Target> {
  /** Who can run an expert now; empty when nobody can. */
  candidates(expert: number): readonly Target[];
  /** Rows that a target already has to do. */
  load(target: Target): number;
  /** Most rows in one message: 1 to 65,536. */
  readonly maxRows: number;
}

interface Draft<Target> {
  readonly target: Target | undefined;
  readonly rows: number[];
  readonly pairRows: number[];
  readonly experts: number[];
  readonly slots: number[];
}

/**
 * Distributes pairs over targets. All pairs of one expert go to one target: the candidate with the fewest rows outstanding
 * and planned; ties are spread by the expert's number.
 */
export function planDispatches<Target>(choices: RowChoices, options: PlanOptions<Target>): PlannedDispatch<Target>[] {
  invariant(options.maxRows >= 1 && options.maxRows <= 65_536, "maxRows is 1 to 65,536");
  const chooser = new TargetChooser(options);
  const open = new Map<Target | undefined, Draft<Target>>();
  const drafts: Draft<Target>[] = [];
  for (let index = 0; index < choices.slots.length; index += 1) {
    const row = choices.rows[index] as number;
    const expert = choices.experts[index] as number;
    const target = chooser.choose(expert);
    let draft = open.get(target);
    if (draft === undefined || (draft.rows.at(-1) !== row && draft.rows.length === options.maxRows)) {
      draft = { target, rows: [], pairRows: [], experts: [], slots: [] };
      open.set(target, draft);
      drafts.push(draft);
    }
    if (draft.rows.at(-1) !== row) draft.rows.push(row);
    draft.pairRows.push(draft.rows.length - 1);
    draft.experts.push(expert);
    draft.slots.push(choices.slots[index] as number);
  }
  return drafts.map(seal);
}

function seal<Target>(draft: Draft<Target>): PlannedDispatch<Target> {
  return {
    target: draft.target,
    rows: new Uint32Array(draft.rows),
    pairRows: new Uint16Array(draft.pairRows),
    experts: new Uint16Array(draft.experts),
    slots: new Uint32Array(draft.slots),
  };
}

/** Gives each expert one target for the length of a plan. */
class TargetChooser<Target> {
  readonly #options: PlanOptions<Target>;
  readonly #chosen = new Map<number, Target | undefined>();
  readonly #planned = new Map<Target, number>();

  constructor(options: PlanOptions<Target>) {
    this.#options = options;
  }

  choose(expert: number): Target | undefined {
    if (!this.#chosen.has(expert)) this.#chosen.set(expert, this.#leastLoaded(expert));
    const target = this.#chosen.get(expert);
    if (target !== undefined) this.#planned.set(target, (this.#planned.get(target) ?? 0) + 1);
    return target;
  }

  #leastLoaded(expert: number): Target | undefined {
    const candidates = this.#options.candidates(expert);
    let best: Target | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    for (let step = 0; step < candidates.length; step += 1) {
      const candidate = candidates[(expert + step) % candidates.length] as Target;
      const load = this.#options.load(candidate) + (this.#planned.get(candidate) ?? 0);
      if (load < bestLoad) {
        best = candidate;
        bestLoad = load;
      }
    }
    return best;
  }
}

/** All choices of a batch: row by row, in the order of the gate's choice. */
export function choicesOfBatch(expertIds: Uint16Array, expertsPerToken: number): RowChoices {
  const count = expertIds.length;
  const rows = new Uint32Array(count);
  const slots = new Uint32Array(count);
  for (let slot = 0, row = 0; slot < count; row += 1) {
    for (let choice = 0; choice < expertsPerToken && slot < count; choice += 1, slot += 1) {
      rows[slot] = row;
      slots[slot] = slot;
    }
  }
  return { rows, experts: expertIds, slots };
}

/** What a dispatch asked for, to be planned again. */
export function choicesOfDispatch({ rows, pairRows, experts, slots }: PlannedDispatch<unknown>): RowChoices {
  return { rows: Uint32Array.from(pairRows, (row) => rows[row] as number), experts, slots };
}
