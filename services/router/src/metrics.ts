import type { Clock } from "@moiety/core";
import { Counter, Gauge, type Registry } from "prom-client";
import type { Cluster, ClusterEvent } from "./cluster.js";
import type { Leadership } from "./leadership.js";
import type { RowCounts } from "./row-counts.js";

export interface RouterMetricsOptions {
  readonly registry: Registry;
  /** What a standby would say of the cluster it does not know: those series have values at the leader alone. */
  readonly leadership: Leadership;
  readonly clock: Clock;
}

export interface RouterMetrics {
  observe(event: ClusterEvent): void;
}

const STATES = ["joining", "live", "draining", "lost"] as const;
const KINDS = ["attention", "expert"] as const;

/** All metrics of the router. Gauges are read from the cluster at the scrape, so that they cannot drift. */
export function createRouterMetrics({ registry, leadership, clock }: RouterMetricsOptions): RouterMetrics {
  const registers = [registry];
  registerElection(registers, leadership, clock);
  registerCluster(registers, () => leadership.term?.cluster);
  registerRowCounts(registers, () => leadership.term?.rowCounts, clock);
  const published = new Counter({
    name: "moiety_router_placements_total",
    help: "Placements published, by phase",
    labelNames: ["phase"],
    registers,
  });
  const moves = new Counter({ name: "moiety_router_moves_total", help: "Copies of experts that workers had to load", registers });
  const losses = new Counter({ name: "moiety_router_workers_lost_total", help: "Times that a worker was lost", registers });
  return {
    observe: (event) => {
      if (event.kind === "published") {
        published.inc({ phase: event.table.phase });
        moves.inc(event.moves);
      }
      if (event.kind === "member-changed" && event.state === "lost") losses.inc();
    },
  };
}

function registerElection(registers: Registry[], { election }: Leadership, clock: Clock): void {
  gauge("moiety_router_leader", "1 at the router that leads, 0 at a standby", registers, [], (set) =>
    set(election.state.kind === "leading" ? 1 : 0),
  );
  gauge("moiety_router_term", "Number of the election that the leader won; 0 for the only router", registers, [], (set) => {
    if (election.state.kind === "leading") set(election.state.term);
  });
  gauge(
    "moiety_router_lease_age_seconds",
    "Time since the leader's lease was last confirmed; grows while Redis is away",
    registers,
    [],
    (set) => {
      const { state } = election;
      if (state.kind === "leading" && state.term > 0) set((clock.monotonicMs() - state.confirmedAtMs) / 1_000);
    },
  );
  new Counter({
    name: "moiety_router_lease_failures_total",
    help: "Times that Redis did not answer for the lease",
    registers,
    collect() {
      this.reset();
      this.inc(election.failures);
    },
  });
}

function registerCluster(registers: Registry[], cluster: () => Cluster | undefined): void {
  const ofLeader = (name: string, help: string, labelNames: string[], read: (cluster: Cluster, set: SetValue) => void) =>
    gauge(name, help, registers, labelNames, (set) => {
      const known = cluster();
      if (known !== undefined) read(known, set);
    });
  ofLeader("moiety_router_members", "Members by kind and state", ["kind", "state"], ({ members }, set) => {
    for (const kind of KINDS) {
      for (const state of STATES) {
        const count = members.filter((member) => member.kind === state && member.profile.kind === kind).length;
        set(count, { kind, state });
      }
    }
  });
  ofLeader("moiety_router_epoch", "Number of the active placement; 0 without one", [], ({ active }, set) =>
    set(active?.epoch ?? 0),
  );
  ofLeader(
    "moiety_router_experts_without_live_worker",
    "(layer, expert) pairs that no worker can execute now",
    [],
    (known, set) => set(known.countWithoutLiveWorker()),
  );
  ofLeader("moiety_router_experts_unplaced", "(layer, expert) pairs without room on any worker", [], ({ publishing }, set) =>
    set(publishing.blocked?.unplaced ?? 0),
  );
  ofLeader(
    "moiety_router_worker_slots",
    "(layer, expert) pairs that the active placement gives to a worker",
    ["worker"],
    ({ active }, set) => {
      for (const { id, experts } of active?.workers ?? []) set(experts.flat().length, { worker: id });
    },
  );
}

function registerRowCounts(registers: Registry[], rowCounts: () => RowCounts | undefined, clock: Clock): void {
  new Counter({
    name: "moiety_router_expert_rows_total",
    help: "Rows executed by an expert, over all workers",
    registers,
    labelNames: ["layer", "expert"],
    collect() {
      this.reset();
      for (const { layer, expert, rows } of rowCounts()?.perExpert() ?? []) this.inc({ layer, expert }, rows);
    },
  });
  new Counter({
    name: "moiety_router_worker_rows_total",
    help: "Rows executed by a worker",
    registers,
    labelNames: ["worker"],
    collect() {
      this.reset();
      for (const { id, rows } of rowCounts()?.perWorker() ?? []) this.inc({ worker: id }, rows);
    },
  });
  gauge(
    "moiety_router_rows_imbalance",
    "Rows of the busiest expert worker of late over the mean of all; 1 is perfect",
    registers,
    [],
    (set) => {
      const imbalance = rowCounts()?.imbalance(clock.monotonicMs());
      if (imbalance !== undefined) set(imbalance);
    },
  );
}

type SetValue = (value: number, labels?: Record<string, string>) => void;

function gauge(name: string, help: string, registers: Registry[], labelNames: string[], read: (set: SetValue) => void): void {
  new Gauge({
    name,
    help,
    registers,
    labelNames,
    collect() {
      this.reset();
      // Without labels there would be a 0 that nobody has said.
      if (labelNames.length === 0) this.remove();
      read((value, labels) => (labels === undefined ? this.set(value) : this.set(labels, value)));
    },
  });
}
