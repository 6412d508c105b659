import { type AppError, AppError as Fault, type PlacementTable, type WorkerId } from "@moiety/core";
import { isPresent, type Member, type MemberReport, readyEpochOf, type WorkerProfile } from "./membership/member.js";
import { type ClusterIdentity, Roster, type RosterLimits } from "./membership/roster.js";
import { decide, hearOf, type PublishingSettings, type PublishingState, startPublishing } from "./publishing/decide.js";
import { activeOf, tablesOf } from "./publishing/publication.js";

/** The router's end of one worker's stream. */
export interface MemberLink {
  welcome(): void;
  publish(table: PlacementTable): void;
  /** Ends the stream with an error; the cluster hears no more of it. */
  drop(reason: AppError): void;
}

export interface Introduction {
  readonly profile: WorkerProfile;
  readonly identity: ClusterIdentity;
  /** The newest table that the worker has seen. */
  readonly placement: PlacementTable | undefined;
}

/** What happened, for the log. */
export type ClusterEvent =
  | { readonly kind: "member-changed"; readonly id: WorkerId; readonly state: Member["kind"] | "gone" }
  | { readonly kind: "published"; readonly table: PlacementTable; readonly moves: number }
  | { readonly kind: "blocked"; readonly unplaced: number };

export interface ClusterOptions {
  readonly limits: RosterLimits;
  readonly publishing: PublishingSettings;
  readonly nowMs: number;
  readonly onEvent?: (event: ClusterEvent) => void;
}

/** The whole control plane without its I/O: members, the table, and who is told what. Time comes with every call. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #roster: Roster;
  readonly #links = new Map<WorkerId, MemberLink>();
  #publishing: PublishingState;
  #announced: readonly PlacementTable[] = [];

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#roster = new Roster(options.limits);
    this.#publishing = startPublishing(options.nowMs);
  }

  get members(): readonly Member[] {
    return this.#roster.all();
  }

  get identity(): ClusterIdentity | undefined {
    return this.#roster.identity;
  }

  get publishing(): PublishingState {
    return this.#publishing;
  }

  /** The table by which calls are sent. */
  get active(): PlacementTable | undefined {
    return activeOf(this.#publishing.publication);
  }

  /** (layer, expert) pairs of the active table that no present worker has loaded. */
  countWithoutLiveWorker(): number {
    const { active } = this;
    return active?.countWithoutHolder(({ id }) => readyEpochOf(this.#roster.get(id)) >= active.epoch) ?? 0;
  }

  /** @throws AppError as {@link Roster.join} does; the worker is then no member. */
  join(link: MemberLink, introduction: Introduction, nowMs: number): void {
    const { profile, identity, placement } = introduction;
    const before = this.#roster.identity;
    this.#roster.join(profile, identity, nowMs);
    if (before !== undefined && before.fingerprint !== identity.fingerprint) {
      this.#publishing = startPublishing(nowMs, this.#publishing.highestEpoch);
      this.#announced = [];
    }
    const replaced = this.#links.get(profile.id);
    this.#links.set(profile.id, link);
    replaced?.drop(new Fault("ABORTED", "replaced by a newer stream of the same worker"));
    this.#emit({ kind: "member-changed", id: profile.id, state: "joining" });
    if (placement !== undefined) this.#publishing = hearOf(this.#publishing, placement, nowMs);
    link.welcome();
    for (const table of this.#announced) link.publish(table);
    this.#decide(nowMs);
  }

  report(
    link: MemberLink,
    id: WorkerId,
    status: { readonly report: MemberReport; readonly draining: boolean; readonly nowMs: number },
  ): void {
    if (this.#links.get(id) !== link) return;
    this.#apply(id, { kind: "reported", ...status });
    this.#decide(status.nowMs);
  }

  /** The stream ended, whoever ended it. */
  end(link: MemberLink, id: WorkerId, nowMs: number): void {
    if (this.#links.get(id) !== link) return;
    this.#links.delete(id);
    this.#apply(id, { kind: "stream-ended", nowMs });
    this.#decide(nowMs);
  }

  /** Notices silence and the end of waits. To be called several times per heartbeat timeout. */
  tick(nowMs: number): void {
    for (const { profile } of this.#roster.all()) this.#apply(profile.id, { kind: "time-passed", nowMs });
    this.#decide(nowMs);
  }

  /** Ends every stream because this router stops or leads no more; members keep what they hold and look for the next router. */
  close(reason: string): void {
    const links = [...this.#links.values()];
    this.#links.clear();
    for (const link of links) link.drop(new Fault("UNAVAILABLE", reason));
  }

  #apply(id: WorkerId, event: Parameters<Roster["apply"]>[1]): void {
    if (!this.#roster.apply(id, event)) return;
    const member = this.#roster.get(id);
    this.#emit({ kind: "member-changed", id, state: member?.kind ?? "gone" });
    if (member !== undefined && isPresent(member)) return;
    const link = this.#links.get(id);
    this.#links.delete(id);
    link?.drop(new Fault("DEADLINE_EXCEEDED", "no heartbeat in time"));
  }

  #decide(nowMs: number): void {
    const { identity } = this.#roster;
    if (identity === undefined) return;
    const before = this.#publishing;
    const view = { members: this.members, layers: identity.layers, experts: identity.experts, nowMs };
    this.#publishing = decide(before, view, this.#options.publishing);
    const { blocked, publication, moves } = this.#publishing;
    if (blocked !== undefined && blocked.key !== before.blocked?.key) this.#emit({ kind: "blocked", unplaced: blocked.unplaced });
    const tables = tablesOf(publication);
    const fresh = tables.filter((table) => !this.#announced.includes(table));
    this.#announced = tables;
    for (const table of fresh) {
      this.#emit({ kind: "published", table, moves: moves - before.moves });
      for (const link of this.#links.values()) link.publish(table);
    }
  }

  #emit(event: ClusterEvent): void {
    this.#options.onEvent?.(event);
  }
}
