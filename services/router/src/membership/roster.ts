import { AppError, type WorkerId } from "@moiety/core";
import {
  isPresent,
  joiningMember,
  type Member,
  type MemberEvent,
  type MemberLimits,
  transition,
  type WorkerProfile,
} from "./member.js";

/** What every member must agree on. */
export interface ClusterIdentity {
  readonly fingerprint: string;
  readonly layers: number;
  readonly hiddenSize: number;
  /** Experts per layer. */
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly activation: "f32" | "bf16";
  readonly kernelFamily: string;
}

export interface RosterLimits extends MemberLimits {
  readonly maxMembers: number;
}

/** All members, by id. The first one decides what the others must agree with; when the last is forgotten, anything may come. */
export class Roster {
  readonly #limits: RosterLimits;
  readonly #members = new Map<WorkerId, Member>();
  #identity: ClusterIdentity | undefined;

  constructor(limits: RosterLimits) {
    this.#limits = limits;
  }

  get identity(): ClusterIdentity | undefined {
    return this.#identity;
  }

  get size(): number {
    return this.#members.size;
  }

  get(id: WorkerId): Member | undefined {
    return this.#members.get(id);
  }

  /** Ascending by id. */
  all(): readonly Member[] {
    return [...this.#members.values()].sort((a, b) => (a.profile.id < b.profile.id ? -1 : 1));
  }

  /**
   * Takes a worker in, or back.
   * @throws AppError FAILED_PRECONDITION when it disagrees with the members; ALREADY_EXISTS while another process lives under its id;
   * RESOURCE_EXHAUSTED when there are too many.
   */
  join(profile: WorkerProfile, identity: ClusterIdentity, nowMs: number): void {
    const known = this.#members.get(profile.id);
    if (known !== undefined && isPresent(known) && known.profile.incarnation !== profile.incarnation) {
      throw new AppError("ALREADY_EXISTS", `another process is a member under the id ${profile.id}`, { retryable: true });
    }
    if (known === undefined && this.#members.size >= this.#limits.maxMembers) {
      throw new AppError("RESOURCE_EXHAUSTED", `the cluster has its ${this.#limits.maxMembers} members already`);
    }
    const others = [...this.#members.keys()].some((id) => id !== profile.id);
    if (others && this.#identity !== undefined) requireSame(this.#identity, identity);
    this.#identity = identity;
    this.#members.set(profile.id, joiningMember(profile, nowMs));
  }

  /** Applies an event to one member. Returns whether the member changed its state or left. */
  apply(id: WorkerId, event: MemberEvent): boolean {
    const before = this.#members.get(id);
    if (before === undefined) return false;
    const after = transition(before, event, this.#limits);
    if (after === undefined) this.#members.delete(id);
    else this.#members.set(id, after);
    return after?.kind !== before.kind;
  }
}

const FIELDS = ["fingerprint", "layers", "hiddenSize", "experts", "expertsPerToken", "activation", "kernelFamily"] as const;

function requireSame(members: ClusterIdentity, worker: ClusterIdentity): void {
  const different = FIELDS.filter((field) => members[field] !== worker[field]);
  if (different.length === 0) return;
  const facts = different.map((field) => `${field}: members have ${members[field]}, this worker has ${worker[field]}`);
  throw new AppError("FAILED_PRECONDITION", `the worker does not match the members of this cluster; ${facts.join("; ")}`, {
    details: { different },
  });
}
