import { AppError, type Clock } from "@moiety/core";
import type { Logger } from "@moiety/runtime";
import { Cluster, type ClusterEvent, type ClusterOptions } from "./cluster.js";
import { Election } from "./election/election.js";
import type { Lease } from "./election/lease.js";
import { RowCounts } from "./row-counts.js";

/** What a router knows while it leads. The next leader begins anew: the workers tell it. */
export interface Term {
  /** Of the election; 0 without one. */
  readonly number: number;
  readonly cluster: Cluster;
  readonly rowCounts: RowCounts;
}

export interface LeadershipOptions {
  /** Absent: the only router. */
  readonly lease: Lease | undefined;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly cluster: Pick<ClusterOptions, "limits" | "publishing">;
  readonly onEvent: (event: ClusterEvent) => void;
}

/** Begins and ends terms as the election goes. */
export class Leadership {
  readonly #options: LeadershipOptions;
  readonly election: Election;
  #term: Term | undefined;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    const { lease, leaseMs, clock, logger } = options;
    const onChange = (number: number | undefined) => {
      this.#term?.cluster.close("this router leads no more");
      this.#term = number === undefined ? undefined : this.#begin(number);
    };
    this.election = new Election({ lease, leaseMs, clock, logger, onChange });
  }

  /** Absent while this router is a standby. */
  get term(): Term | undefined {
    return this.#term;
  }

  /** @throws AppError UNAVAILABLE while another router leads, or none. */
  requireTerm(): Term {
    if (this.#term !== undefined) return this.#term;
    const { state } = this.election;
    const leader = state.kind === "standby" ? state.leader?.replace(/\/.*$/, "") : undefined;
    const facts = leader === undefined ? "no router leads at the moment" : `${leader} leads`;
    throw new AppError("UNAVAILABLE", `this router is a standby: ${facts}`);
  }

  async close(): Promise<void> {
    // First the lease: when the workers are sent away, the next leader is there.
    await this.election.close();
    this.#term?.cluster.close("the router is stopping");
  }

  #begin(number: number): Term {
    const { clock, onEvent, cluster: settings } = this.#options;
    const rowCounts = new RowCounts();
    const cluster: Cluster = new Cluster({
      ...settings,
      nowMs: clock.monotonicMs(),
      onEvent: (event) => {
        onEvent(event);
        if (event.kind !== "member-changed" || event.state !== "gone") return;
        rowCounts.keepOnly(new Set(cluster.members.map(({ profile }) => profile.id)));
      },
    });
    return { number, cluster, rowCounts };
  }
}
