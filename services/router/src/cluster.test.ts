import type { PlacementTable } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { SHAPE, type SimulatedWorker, World } from "../test/simulated-world.js";

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function settledWorld(options: { experts: number; replicas?: number; capacitySlots?: number }): World {
  const world = new World({ replicas: options.replicas ?? 1, minExpertWorkers: options.experts, random: seeded(1) });
  for (let index = 0; index < options.experts; index += 1) world.add(`e${index}`, "expert", options.capacitySlots);
  world.add("a0", "attention");
  world.startRouter();
  world.run(6_000);
  expect(world.router?.active?.epoch).toBe(1);
  return world;
}

const epochOf = (world: World) => world.router?.active?.epoch;
const slotsOf = (world: World, worker: SimulatedWorker | undefined) =>
  worker === undefined ? undefined : world.router?.active?.expertsOf(worker.id)?.flat().length;

describe("a cluster", () => {
  it("waits for the least number of expert workers, and then serves every expert", () => {
    const world = new World({ replicas: 1, minExpertWorkers: 2, random: seeded(1) });
    world.startRouter();
    world.add("e0", "expert");
    world.run(5_000);
    expect(world.router?.publishing.publication.kind).toBe("empty");
    world.add("e1", "expert");
    world.run(3_000);
    expect(epochOf(world)).toBe(1);
    expect(world.router?.countWithoutLiveWorker()).toBe(0);
    expect(world.workers.map((worker) => slotsOf(world, worker))).toEqual([12, 12]);
  });

  it("keeps its table while a worker is restarted within the grace", () => {
    const world = settledWorld({ experts: 2 });
    world.workers[0]?.kill();
    world.run(1_000);
    expect(world.router?.countWithoutLiveWorker()).toBe(12);
    world.workers[0]?.start();
    world.run(5_000);
    expect(epochOf(world)).toBe(1);
    expect(world.router?.countWithoutLiveWorker()).toBe(0);
  });

  it("gives a returned worker's new address a new number and moves nothing", () => {
    const world = settledWorld({ experts: 2 });
    const [worker] = world.workers;
    const before = world.router?.active?.workers.map(({ experts }) => experts);
    worker?.kill();
    if (worker !== undefined) worker.address = "elsewhere:9";
    worker?.start();
    world.run(3_000);
    expect(epochOf(world)).toBe(2);
    expect(world.router?.active?.workers[0]?.address).toBe("elsewhere:9");
    expect(world.router?.active?.workers.map(({ experts }) => experts)).toEqual(before);
    expect(world.router?.publishing.moves).toBe(24);
  });

  it("gives a lost worker's experts to the others after the grace, and shares again when it returns", () => {
    const world = settledWorld({ experts: 3 });
    world.workers[1]?.kill();
    world.run(6_000);
    expect(epochOf(world)).toBe(2);
    expect(world.router?.countWithoutLiveWorker()).toBe(0);
    expect(slotsOf(world, world.workers[1])).toBeUndefined();
    world.workers[1]?.start();
    world.run(4_000);
    expect(epochOf(world)).toBe(3);
    expect(slotsOf(world, world.workers[1])).toBeGreaterThanOrEqual(6);
  });

  it("waits for the lost worker when nobody has room, says so, and recovers", () => {
    const world = settledWorld({ experts: 2, capacitySlots: 12 });
    world.workers[0]?.kill();
    world.run(8_000);
    expect(epochOf(world)).toBe(1);
    expect(world.router?.publishing.blocked?.unplaced).toBe(12);
    expect(world.events.filter(({ kind }) => kind === "blocked")).toHaveLength(1);
    world.workers[0]?.start();
    world.run(3_000);
    expect(epochOf(world)).toBe(1);
    expect(world.router?.countWithoutLiveWorker()).toBe(0);
    expect(world.router?.publishing.blocked).toBeUndefined();
  });

  it("notices a frozen worker by its silence, and takes it back when it thaws", () => {
    const world = settledWorld({ experts: 2 });
    const [worker] = world.workers;
    if (worker !== undefined) worker.state = "frozen";
    world.run(2_600);
    expect(world.router?.members[1]).toMatchObject({ kind: "lost" });
    if (worker !== undefined) worker.state = "up";
    world.run(2_000);
    expect(world.router?.members[1]).toMatchObject({ kind: "live" });
    expect(epochOf(world)).toBe(1);
  });

  it("moves the experts of a draining worker away without a moment's gap", () => {
    const world = settledWorld({ experts: 3 });
    const [worker] = world.workers;
    if (worker !== undefined) worker.draining = true;
    for (let step = 0; step < 80; step += 1) {
      world.run(50);
      expect(world.router?.countWithoutLiveWorker()).toBe(0);
    }
    expect(slotsOf(world, worker)).toBeUndefined();
    worker?.kill();
    world.run(100);
    expect(world.router?.members.map(({ profile }) => profile.id)).not.toContain("e0");
  });

  it("goes on with the same table, under the same number, when the router is restarted", () => {
    const world = settledWorld({ experts: 3 });
    const before = world.router?.active;
    world.killRouter();
    world.run(4_000);
    world.startRouter();
    world.run(4_000);
    expect(epochOf(world)).toBe(1);
    expect(before !== undefined && world.router?.active?.sameAssignments(before)).toBe(true);
  });

  it("numbers on from the highest number that any worker holds", () => {
    const world = settledWorld({ experts: 2 });
    world.workers[0]?.kill();
    world.run(6_000);
    const old = epochOf(world) ?? 0;
    world.killRouter();
    world.workers[1]?.kill();
    world.run(500);
    world.workers[0]?.start();
    world.workers[1]?.start();
    const attention = world.workers[2];
    if (attention !== undefined) attention.state = "frozen";
    world.startRouter();
    world.run(5_000);
    if (attention !== undefined) attention.state = "up";
    world.run(5_000);
    expect(old).toBe(2);
    expect(epochOf(world)).toBe(old + 1);
    expect(attention?.active?.epoch).toBe(old + 1);
  });

  it("holds every expert twice when asked to, and survives a loss without a gap", () => {
    const world = settledWorld({ experts: 3, replicas: 2 });
    world.workers[2]?.kill();
    world.run(100);
    expect(world.router?.countWithoutLiveWorker()).toBe(0);
    world.run(8_000);
    for (let expert = 0; expert < SHAPE.experts; expert += 1) expect(world.router?.active?.holders(0, expert)).toHaveLength(2);
  });
});

describe("a cluster in which anything dies at any time", () => {
  const seeds = Array.from({ length: 40 }, (_, index) => index + 1);

  it.each(seeds)("never activates what is not loaded, and comes to rest (seed %i)", (seed) => {
    const random = seeded(seed);
    const world = new World({ replicas: 1 + (seed % 2), minExpertWorkers: 2, random, onPublished: expectLoadedWhenActivated() });
    for (let index = 0; index < 5; index += 1) world.add(`e${index}`, "expert");
    world.add("a0", "attention");
    world.add("a1", "attention");
    for (let event = 0; event < 60; event += 1) {
      disturb(world, random);
      world.run(50 * Math.floor(random() * 30));
    }
    heal(world);
    world.run(20_000);
    expectRest(world);
  });
});

/** A table that a restarted router takes over was activated before, and its workers may have died since. */
function expectLoadedWhenActivated() {
  const activated = new Set<PlacementTable>();
  return (table: PlacementTable, world: World) => {
    if (table.phase !== "active" || activated.has(table)) return;
    activated.add(table);
    const holds = (id: string) =>
      world.workers.some((worker) => worker.id === id && worker.state !== "down" && worker.loadedEpoch >= table.epoch);
    expect(table.countWithoutHolder(({ id }) => holds(id))).toBe(0);
  };
}

function disturb(world: World, random: () => number): void {
  const worker = world.workers[Math.floor(random() * world.workers.length)];
  if (worker === undefined) return;
  const dice = random();
  if (dice < 0.25) worker.kill();
  else if (dice < 0.55) worker.start();
  else if (dice < 0.62 && worker.state === "up") worker.state = "frozen";
  else if (dice < 0.72 && worker.state === "frozen") worker.state = "up";
  else if (dice < 0.78) worker.draining = true;
  else if (dice < 0.84) worker.breakLink();
  else if (dice < 0.88) worker.address = `${worker.id}:${Math.floor(random() * 1_000) + 1}`;
  else if (dice < 0.93) world.killRouter();
  else if (world.router === undefined) world.startRouter();
}

function heal(world: World): void {
  for (const worker of world.workers) {
    if (worker.draining) worker.kill();
    if (worker.state === "frozen") worker.state = "up";
    worker.start();
  }
  if (world.router === undefined) world.startRouter();
}

function expectRest(world: World): void {
  const epoch = epochOf(world);
  expect(world.router?.publishing.publication.kind).toBe("active");
  expect(world.router?.countWithoutLiveWorker()).toBe(0);
  for (const worker of world.workers) expect(worker.active?.epoch).toBe(epoch);
  for (let layer = 0; layer < SHAPE.layers; layer += 1) {
    const shares = world.experts.map(({ id }) => world.router?.active?.expertsOf(id)?.[layer]?.length ?? -1);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
  }
  world.run(10_000);
  expect(epochOf(world)).toBe(epoch);
}
