import type { PlacementTable } from "@moiety/core";
import type { Cluster } from "./cluster.js";
import type { Leadership } from "./leadership.js";
import type { Member } from "./membership/member.js";
import { activeOf, targetOf } from "./publishing/publication.js";

/** Who leads, and of a leader members and placement, as JSON, for people and scripts. */
export function routerStatus({ term, election: { state } }: Leadership, nowMs: number) {
  if (term !== undefined) return { role: "leader", term: term.number, ...clusterStatus(term.cluster, nowMs) };
  return { role: "standby", leader: state.kind === "standby" ? state.leader : undefined };
}

/** Why the cluster cannot serve every expert, or why this standby could not take over; empty when nothing is missing. */
export function routerMissing({ term, election: { state } }: Leadership, minExpertWorkers: number): readonly string[] {
  if (term !== undefined) return missingForReadiness(term.cluster, minExpertWorkers);
  if (state.kind !== "standby") return ["the router is stopping"];
  if (state.fault !== undefined) return [`the lease is out of reach: ${state.fault.message}`];
  return state.leader === undefined ? ["no router leads"] : [];
}

function clusterStatus(cluster: Cluster, nowMs: number) {
  const { publication, highestEpoch, blocked } = cluster.publishing;
  const active = activeOf(publication);
  const target = targetOf(publication);
  return {
    model: cluster.identity,
    placement: {
      phase: publication.kind,
      activeEpoch: active?.epoch,
      targetEpoch: target?.epoch,
      highestEpoch,
      expertsWithoutLiveWorker: cluster.countWithoutLiveWorker(),
      expertsWithoutRoom: blocked?.unplaced ?? 0,
      workers: target === undefined ? [] : placedWorkers(target),
    },
    members: cluster.members.map((member) => memberStatus(member, nowMs)),
  };
}

function placedWorkers(table: PlacementTable) {
  return table.workers.map(({ id, address, experts }) => ({ id, address, slots: experts.flat().length, experts }));
}

function memberStatus(member: Member, nowMs: number) {
  const { id, kind, address, capacitySlots } = member.profile;
  const common = { id, kind, address, capacitySlots, state: member.kind };
  if (member.kind === "lost") return { ...common, lostForMs: Math.round(nowMs - member.sinceMs) };
  const silentForMs = Math.round(nowMs - member.lastSeenMs);
  if (member.kind === "joining") return { ...common, silentForMs };
  return { ...common, silentForMs, faulty: member.faulty, ...member.report };
}

function missingForReadiness(cluster: Cluster, minExpertWorkers: number): readonly string[] {
  if (minExpertWorkers === 0 && targetOf(cluster.publishing.publication) === undefined) return [];
  const { publication, blocked } = cluster.publishing;
  const active = activeOf(publication);
  if (active === undefined) {
    const room = blocked === undefined ? [] : [`${blocked.unplaced} experts have no room on any worker`];
    return [`no active placement (${publication.kind})`, ...room];
  }
  const without = cluster.countWithoutLiveWorker();
  return without === 0 ? [] : [`${without} experts have no live worker`];
}
