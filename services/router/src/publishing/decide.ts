import { type PlacedExperts, PlacementTable } from "@moiety/core";
import { isPresent, type Member, readyEpochOf } from "../membership/member.js";
import { place } from "../placement/place.js";
import { type Candidate, candidatesOf } from "./candidates.js";
import { activeOf, type Publication, takeOver, targetOf } from "./publication.js";

export interface PublishingSettings {
  /** Expert workers to wait for before the first placement; 0 counts as 1 once there is any. */
  readonly minExpertWorkers: number;
  readonly replicas: number;
  /** How long a young router waits for members to return. */
  readonly settleMs: number;
  /** How long a new worker waits for others to come too, so that one table takes them all in. */
  readonly growDelayMs: number;
  readonly rejoinGraceMs: number;
}

/** Why the membership demands a table that the workers cannot give. */
export interface BlockedPlan {
  /** What was tried; the same is not tried again. */
  readonly key: string;
  /** (layer, expert) pairs without a place. */
  readonly unplaced: number;
}

export interface PublishingState {
  readonly publication: Publication;
  /** The greatest epoch that this router has published or heard of. */
  readonly highestEpoch: number;
  /** Somebody holds another table with the target's number or a greater one: only a greater number settles it. */
  readonly contested: boolean;
  /** Since when this router waits for workers of a table that it did not see before. */
  readonly takenOverAtMs: number;
  readonly blocked: BlockedPlan | undefined;
  /** Copies that workers had to load, over all tables so far. */
  readonly moves: number;
}

export interface ClusterView {
  readonly members: readonly Member[];
  readonly layers: number;
  /** Experts per layer. */
  readonly experts: number;
  readonly nowMs: number;
}

export function startPublishing(nowMs: number, highestEpoch = 0): PublishingState {
  const publication: Publication = { kind: "settling", sinceMs: nowMs, held: undefined };
  return { publication, highestEpoch, contested: false, takenOverAtMs: nowMs, blocked: undefined, moves: 0 };
}

/** A joining worker says which table it holds. */
export function hearOf(state: PublishingState, table: PlacementTable, nowMs: number): PublishingState {
  const { publication } = state;
  const heard = { ...state, highestEpoch: Math.max(state.highestEpoch, table.epoch) };
  const target = targetOf(publication);
  if (table.countWithoutHolder() > 0)
    return { ...heard, contested: state.contested || table.epoch >= (target?.epoch ?? table.epoch + 1) };
  const twin = target !== undefined && target.epoch === table.epoch;
  if (twin && !target.sameAssignments(table)) return { ...heard, contested: true };
  switch (publication.kind) {
    case "settling":
      return table.isNewerThan(publication.held) ? { ...heard, publication: { ...publication, held: table } } : heard;
    case "empty":
      return { ...heard, publication: takeOver(table), takenOverAtMs: nowMs };
    case "preparing":
      if (twin && table.phase === "active") return { ...heard, publication: takeOver(table) };
      return { ...heard, contested: heard.contested || table.epoch > publication.next.epoch };
    case "active":
      return { ...heard, contested: heard.contested || table.epoch > publication.active.epoch };
  }
}

/** The state after the members were looked at. Pure: called at every change and every tick. */
export function decide(state: PublishingState, view: ClusterView, settings: PublishingSettings): PublishingState {
  const settled = settle(state, view, settings);
  if (settled.publication.kind === "settling") return settled;
  return activate(replan(settled, view, settings), view);
}

function settle(state: PublishingState, view: ClusterView, settings: PublishingSettings): PublishingState {
  const { publication } = state;
  if (publication.kind !== "settling") return state;
  const present = new Set(view.members.filter(isPresent).map(({ profile }) => profile.id));
  const complete = publication.held?.workers.every(({ id }) => present.has(id)) ?? false;
  if (!complete && view.nowMs - publication.sinceMs < settings.settleMs) return state;
  return { ...state, publication: takeOver(publication.held), takenOverAtMs: view.nowMs };
}

function activate(state: PublishingState, view: ClusterView): PublishingState {
  const { publication } = state;
  if (publication.kind !== "preparing") return state;
  const { next } = publication;
  const ready = next.workers.every(
    ({ id, experts }) =>
      holdsNothing(experts) || readyEpochOf(view.members.find(({ profile }) => profile.id === id)) >= next.epoch,
  );
  return ready ? { ...state, publication: { kind: "active", active: next.withPhase("active") } } : state;
}

function holdsNothing(experts: readonly (readonly number[])[]): boolean {
  return experts.every((list) => list.length === 0);
}

function replan(state: PublishingState, view: ClusterView, settings: PublishingSettings): PublishingState {
  const target = targetOf(state.publication);
  const awaitsUnknown = view.nowMs - state.takenOverAtMs < settings.rejoinGraceMs;
  const candidates = candidatesOf({ members: view.members, target, awaitsUnknown });
  if (!isDemanded({ state, target, candidates, view, settings })) return state.blocked === undefined ? state : unblocked(state);
  const key = JSON.stringify([
    target?.epoch,
    state.contested,
    candidates.map(({ id, address, capacitySlots }) => [id, address, capacitySlots]),
  ]);
  if (state.blocked?.key === key) return state;
  const previous = activeOf(state.publication) ?? target;
  const plan = place({ layers: view.layers, experts: view.experts, workers: candidates, previous, replicas: settings.replicas });
  const blocked = plan.unplaced.length === 0 ? undefined : { key, unplaced: plan.unplaced.length };
  const workers = blocked === undefined ? withAddresses(plan.assignments, candidates) : (target?.workers ?? []);
  if (blocked !== undefined && target === undefined) return { ...state, blocked };
  const epoch = Math.max(state.highestEpoch, target?.epoch ?? 0) + 1;
  const { layers, experts } = view;
  const next = new PlacementTable({ epoch, phase: "preparing", layers, experts, workers: withAddresses(workers, candidates) });
  if (target?.sameAssignments(next) && !state.contested) return { ...state, blocked };
  return {
    publication: { kind: "preparing", active: activeOf(state.publication), next },
    highestEpoch: epoch,
    contested: false,
    takenOverAtMs: state.takenOverAtMs,
    blocked,
    moves: state.moves + (blocked === undefined ? plan.moves : 0),
  };
}

function unblocked(state: PublishingState): PublishingState {
  return { ...state, blocked: undefined };
}

/** Puts the address that a worker has now in the place of the one that a table may have had. */
function withAddresses(
  workers: readonly (Pick<PlacedExperts, "id" | "experts"> & { readonly address?: string })[],
  candidates: readonly Candidate[],
): PlacedExperts[] {
  return workers.map(({ id, experts, address = "" }) => ({
    id,
    experts,
    address: candidates.find((candidate) => candidate.id === id)?.address ?? address,
  }));
}

interface DemandRequest {
  readonly state: PublishingState;
  readonly target: PlacementTable | undefined;
  readonly candidates: readonly Candidate[];
  readonly view: ClusterView;
  readonly settings: PublishingSettings;
}

/** Whether the membership asks for another table than the target. */
function isDemanded({ state, target, candidates, view, settings }: DemandRequest): boolean {
  if (target === undefined) return candidates.length >= Math.max(1, settings.minExpertWorkers);
  if (state.contested) return true;
  const outdated = target.workers.some((worker) => {
    const candidate = candidates.find(({ id }) => id === worker.id);
    if (candidate === undefined) return true;
    return candidate.address !== worker.address || worker.experts.flat().length > candidate.capacitySlots;
  });
  if (outdated || state.publication.kind === "preparing") return outdated;
  return candidates.some(
    ({ id, joinedAtMs }) =>
      target.expertsOf(id) === undefined && joinedAtMs !== undefined && view.nowMs - joinedAtMs >= settings.growDelayMs,
  );
}
