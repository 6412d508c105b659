import { invariant, type PlacementTable, parseWorkerId, type WorkerId } from "@moiety/core";
import { Cluster, type ClusterEvent, type MemberLink } from "../src/cluster.js";

export const SHAPE = { layers: 3, experts: 8 };
export const STEP_MS = 50;

const IDENTITY = {
  fingerprint: "0".repeat(64),
  ...SHAPE,
  hiddenSize: 64,
  expertsPerToken: 4,
  activation: "f32",
  kernelFamily: "cpu",
} as const;
const LIMITS = { maxMembers: 32, heartbeatTimeoutMs: 2_000, rejoinGraceMs: 3_000 };
const HEARTBEAT_MS = 500;

export interface WorldOptions {
  readonly replicas: number;
  readonly minExpertWorkers?: number;
  readonly random: () => number;
  /** Called for every table that a router publishes. */
  readonly onPublished?: (table: PlacementTable, world: World) => void;
}

/** A worker's process as the router could see it: it loads what it is told, after a while, and loses it all when it dies. */
export class SimulatedWorker {
  readonly id: WorkerId;
  state: "up" | "frozen" | "down" = "up";
  draining = false;
  address: string;
  newest: PlacementTable | undefined;
  active: PlacementTable | undefined;
  loadedEpoch = 0;
  link: MemberLink | undefined;
  #incarnation = 1;
  #loadingUntilMs = 0;
  #nextBeatMs = 0;
  #nextJoinMs = 0;

  constructor(
    readonly world: World,
    name: string,
    readonly kind: "attention" | "expert",
    readonly capacitySlots: number,
  ) {
    this.id = parseWorkerId(name);
    this.address = `${name}:1`;
  }

  kill(): void {
    this.breakLink();
    this.state = "down";
    this.newest = undefined;
    this.active = undefined;
    this.loadedEpoch = 0;
    this.draining = false;
  }

  start(): void {
    if (this.state !== "down") return;
    this.state = "up";
    this.#incarnation += 1;
  }

  breakLink(): void {
    const { link } = this;
    this.link = undefined;
    if (link !== undefined) this.world.router?.end(link, this.id, this.world.nowMs);
  }

  step(): void {
    if (this.state !== "up") return;
    const { nowMs, router } = this.world;
    if (this.newest !== undefined && nowMs >= this.#loadingUntilMs) this.loadedEpoch = this.newest.epoch;
    if (router === undefined) this.link = undefined;
    else if (this.link === undefined) this.#join(router);
    else if (nowMs >= this.#nextBeatMs) this.#beat(router, this.link);
  }

  #join(router: Cluster): void {
    const { nowMs, random } = this.world;
    if (nowMs < this.#nextJoinMs) return;
    this.#nextJoinMs = nowMs + 100 + 400 * random();
    const link: MemberLink = {
      welcome: () => {},
      publish: (table) => this.#take(table),
      drop: () => {
        if (this.link === link) this.link = undefined;
      },
    };
    this.link = link;
    const { id, kind, address, capacitySlots } = this;
    const profile = { id, kind, address, capacitySlots, incarnation: String(this.#incarnation) };
    try {
      router.join(link, { profile, identity: IDENTITY, placement: this.newest }, nowMs);
      this.#nextBeatMs = nowMs;
    } catch {
      this.link = undefined;
    }
  }

  #beat(router: Cluster, link: MemberLink): void {
    this.#nextBeatMs = this.world.nowMs + HEARTBEAT_MS;
    const report = { readyEpoch: this.loadedEpoch, queuedCalls: 0, runningCalls: 0, residentBytes: 0, fault: "" };
    router.report(link, this.id, { report, draining: this.draining, nowMs: this.world.nowMs });
  }

  #take(table: PlacementTable): void {
    if (this.state !== "up" || !table.isNewerThan(this.newest)) return;
    invariant(table.epoch >= (this.newest?.epoch ?? 0), "epochs grow");
    if (table.epoch !== this.newest?.epoch) this.#loadingUntilMs = this.world.nowMs + 800 * this.world.random();
    this.newest = table;
    if (table.phase === "active") this.active = table;
  }
}

/** Workers, at most one router, and a clock that only `step` moves. */
export class World {
  readonly random: () => number;
  readonly workers: SimulatedWorker[] = [];
  readonly events: ClusterEvent[] = [];
  nowMs = 0;
  router: Cluster | undefined;

  constructor(readonly options: WorldOptions) {
    this.random = options.random;
  }

  add(name: string, kind: "attention" | "expert", capacitySlots = SHAPE.layers * SHAPE.experts): SimulatedWorker {
    const worker = new SimulatedWorker(this, name, kind, kind === "expert" ? capacitySlots : 0);
    this.workers.push(worker);
    return worker;
  }

  startRouter(): void {
    const { replicas, minExpertWorkers = 1 } = this.options;
    const publishing = { minExpertWorkers, replicas, settleMs: 1_500, growDelayMs: 1_000, rejoinGraceMs: LIMITS.rejoinGraceMs };
    this.router = new Cluster({ limits: LIMITS, publishing, nowMs: this.nowMs, onEvent: (event) => this.#observe(event) });
  }

  killRouter(): void {
    this.router = undefined;
    for (const worker of this.workers) worker.link = undefined;
  }

  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs += STEP_MS) {
      this.router?.tick(this.nowMs);
      for (const worker of this.workers) worker.step();
    }
  }

  get experts(): SimulatedWorker[] {
    return this.workers.filter(({ kind }) => kind === "expert");
  }

  #observe(event: ClusterEvent): void {
    this.events.push(event);
    if (event.kind === "published") this.options.onPublished?.(event.table, this);
  }
}
