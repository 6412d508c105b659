import type { Clock } from "@moiety/core";
import { Counter, Gauge, type Registry } from "prom-client";
import type { Cluster, ClusterEvent } from "./cluster.js";
import type { RowCounts } from "./row-counts.js";

export interface RouterMetricsOptions {
  readonly registry: Registry;
  readonly cluster: () => Cluster;
  readonly rowCounts: RowCounts;
  readonly clock: Clock;
}

export interface RouterMetrics {
  observe(event: ClusterEvent): void;
}

const STATES = ["joining", "live", "draining", "lost"] as const;
const KINDS = ["attention", "expert"] as const;

/** All metrics of the router. Gauges are read from the cluster at the scrape, so that they cannot drift. */
export function createRouterMetrics({ registry, cluster, rowCounts, clock }: RouterMetricsOptions): RouterMetrics {
  const registers = [registry];
  gauge("moiety_router_members", "Members by kind and state", registers, ["kind", "state"], (set) => {
    for (const kind of KINDS) {
      for (const state of STATES) {
        const count = cluster().members.filter((member) => member.kind === state && member.profile.kind === kind).length;
        set(count, { kind, state });
      }
    }
  });
  gauge("moiety_router_epoch", "Number of the active placement; 0 without one", registers, [], (set) =>
    set(cluster().active?.epoch ?? 0),
  );
  gauge(
    "moiety_router_experts_without_live_worker",
    "(layer, expert) pairs that no worker can execute now",
    registers,
    [],
    (set) => set(cluster().countWithoutLiveWorker()),
  );
  gauge("moiety_router_experts_unplaced", "(layer, expert) pairs without room on any worker", registers, [], (set) =>
    set(cluster().publishing.blocked?.unplaced ?? 0),
  );
  gauge(
    "moiety_router_worker_slots",
    "(layer, expert) pairs that the active placement gives to a worker",
    registers,
    ["worker"],
    (set) => {
      for (const { id, experts } of cluster().active?.workers ?? []) set(experts.flat().length, { worker: id });
    },
  );
  registerRowCounts(registers, rowCounts, clock);
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

function registerRowCounts(registers: Registry[], rowCounts: RowCounts, clock: Clock): void {
  new Counter({
    name: "moiety_router_expert_rows_total",
    help: "Rows executed by an expert, over all workers",
    registers,
    labelNames: ["layer", "expert"],
    collect() {
      this.reset();
      for (const { layer, expert, rows } of rowCounts.perExpert()) this.inc({ layer, expert }, rows);
    },
  });
  new Counter({
    name: "moiety_router_worker_rows_total",
    help: "Rows executed by a worker",
    registers,
    labelNames: ["worker"],
    collect() {
      this.reset();
      for (const { id, rows } of rowCounts.perWorker()) this.inc({ worker: id }, rows);
    },
  });
  gauge(
    "moiety_router_rows_imbalance",
    "Rows of the busiest expert worker of late over the mean of all; 1 is perfect",
    registers,
    [],
    (set) => set(rowCounts.imbalance(clock.monotonicMs())),
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
      read((value, labels) => (labels === undefined ? this.set(value) : this.set(labels, value)));
    },
  });
}
