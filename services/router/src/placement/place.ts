import type { PlacementTable, WorkerId } from "@moiety/core";
import { matchLayer } from "./layer-matching.js";
import { quotas } from "./quotas.js";

export interface PlacementCandidate {
  readonly id: WorkerId;
  /** (layer, expert) pairs that it can hold. */
  readonly capacitySlots: number;
}

export interface PlaceRequest {
  readonly layers: number;
  /** Experts per layer. */
  readonly experts: number;
  readonly workers: readonly PlacementCandidate[];
  /** What the workers hold now: as little of it as possible is moved. */
  readonly previous: PlacementTable | undefined;
  /** Copies wanted of every expert; fewer when there are fewer workers or slots. */
  readonly replicas: number;
}

export interface ExpertPlace {
  readonly layer: number;
  readonly expert: number;
}

export interface PlaceResult {
  /** One entry per requested worker: `[layers]` of ascending experts; may be all empty. */
  readonly assignments: readonly { readonly id: WorkerId; readonly experts: readonly (readonly number[])[] }[];
  /** Experts for which nobody has room; empty when the placement can serve the model. */
  readonly unplaced: readonly ExpertPlace[];
  /** Copies that their worker must load: (layer, expert) pairs it did not hold before. */
  readonly moves: number;
}

/** Splits every layer's experts evenly over the workers. Pure, and the same for the same request. */
export function place(request: PlaceRequest): PlaceResult {
  const { layers, experts } = request;
  const workers = [...request.workers].sort((a, b) => (a.id < b.id ? -1 : 1));
  const held = workers.map(({ id }) => previousSets(request, id));
  const perLayer = quotas({
    layers,
    experts,
    copiesPerLayer: experts * Math.min(request.replicas, workers.length),
    capacities: workers.map((worker) => worker.capacitySlots),
    held: held.map((sets) => sets.map((set) => set.size)),
  });
  const matched = perLayer.map((layerQuotas, layer) =>
    matchLayer({ experts, quotas: layerQuotas, held: held.map((sets) => sets[layer] ?? new Set()) }),
  );
  const assignments = workers.map(({ id }, worker) => ({
    id,
    experts: matched.map((holds) => [...(holds[worker] ?? [])].sort((a, b) => a - b)),
  }));
  return { assignments, unplaced: findUnplaced(matched, experts), moves: countMoves(assignments, held) };
}

function previousSets(request: PlaceRequest, id: WorkerId): readonly ReadonlySet<number>[] {
  const before = request.previous?.expertsOf(id);
  return Array.from({ length: request.layers }, (_, layer) => new Set(before?.[layer] ?? []));
}

function findUnplaced(matched: readonly (readonly ReadonlySet<number>[])[], experts: number): ExpertPlace[] {
  return matched.flatMap((holds, layer) =>
    Array.from({ length: experts }, (_, expert) => ({ layer, expert })).filter(
      ({ expert }) => !holds.some((set) => set.has(expert)),
    ),
  );
}

function countMoves(assignments: PlaceResult["assignments"], held: readonly (readonly ReadonlySet<number>[])[]): number {
  let moves = 0;
  assignments.forEach((assignment, worker) => {
    assignment.experts.forEach((list, layer) => {
      moves += list.filter((expert) => !held[worker]?.[layer]?.has(expert)).length;
    });
  });
  return moves;
}
