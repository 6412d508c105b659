import type { PlacementTable, WorkerId } from "@moiety/core";
import type { Member } from "../membership/member.js";

/** An expert worker that a table may name. */
export interface Candidate {
  readonly id: WorkerId;
  readonly address: string;
  readonly capacitySlots: number;
  /** Absent for one that is away and whose experts wait for its return. */
  readonly joinedAtMs: number | undefined;
}

export interface CandidateRequest {
  readonly members: readonly Member[];
  /** The table that the cluster has or moves towards. */
  readonly target: PlacementTable | undefined;
  /** Whether workers of the table that never joined this router may still return. */
  readonly awaitsUnknown: boolean;
}

/** Present workers that can take experts, and those of the table that are away for less than the grace; ascending by id. */
export function candidatesOf(request: CandidateRequest): readonly Candidate[] {
  const present = request.members.flatMap(presentCandidate);
  const away = (request.target?.workers ?? []).flatMap((worker): Candidate[] => {
    const member = request.members.find(({ profile }) => profile.id === worker.id);
    if (member === undefined ? !request.awaitsUnknown : member.kind !== "lost") return [];
    const capacitySlots = member?.profile.capacitySlots ?? worker.experts.flat().length;
    return [{ id: worker.id, address: member?.profile.address ?? worker.address, capacitySlots, joinedAtMs: undefined }];
  });
  return [...present, ...away].sort((a, b) => (a.id < b.id ? -1 : 1));
}

function presentCandidate(member: Member): Candidate[] {
  const { id, kind, address, capacitySlots } = member.profile;
  if (kind !== "expert" || capacitySlots === 0) return [];
  if (member.kind === "lost" || member.kind === "draining" || (member.kind === "live" && member.faulty)) return [];
  return [{ id, address, capacitySlots, joinedAtMs: member.joinedAtMs }];
}
