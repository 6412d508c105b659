import type { PlacementTable, WorkerId } from "@moiety/core";

/** What a call is planned by: who can run which expert at this moment. Immutable; replaced at every change. */
export interface PlacementView<Target> {
  /** The active placement's; 0 before the first. */
  readonly epoch: number;
  /** Live workers that hold an expert; empty when there is none. */
  candidates(layer: number, expert: number): readonly Target[];
  /** (layer, expert) pairs without a live worker. */
  readonly unserved: number;
}

/** The view before any placement was seen. */
export function emptyView(experts: number): PlacementView<never> {
  return { epoch: 0, candidates: () => NOBODY, unserved: experts };
}

/** `live` gives the link to a worker, if calls can be sent on it now. */
export function buildView<Target>(table: PlacementTable, live: (id: WorkerId) => Target | undefined): PlacementView<Target> {
  const targets = table.workers.map((worker) => live(worker.id));
  const byPair: (readonly Target[])[] = [];
  for (let layer = 0; layer < table.layers; layer += 1) {
    for (let expert = 0; expert < table.experts; expert += 1) {
      const candidates = table.holders(layer, expert).flatMap((index) => targets[index] ?? []);
      byPair.push(candidates as readonly Target[]);
    }
  }
  return {
    epoch: table.epoch,
    candidates: (layer, expert) => byPair[layer * table.experts + expert] ?? NOBODY,
    unserved: byPair.filter((candidates) => candidates.length === 0).length,
  };
}

const NOBODY: readonly never[] = [];
