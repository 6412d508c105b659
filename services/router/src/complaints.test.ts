import { describe, expect, it } from "vitest";
import { SHAPE, World } from "../test/simulated-world.js";

/** What users of other servers complained of, and does not happen here. `docs/complaints.md` says where each comes from. */

const PAIRS = SHAPE.layers * SHAPE.experts;

function settledWorld(experts: number): World {
  const world = new World({ replicas: 1, minExpertWorkers: experts, random: () => 0.5 });
  for (let index = 0; index < experts; index += 1) world.add(`e${index}`, "expert");
  world.startRouter();
  world.run(6_000);
  expect(world.router?.publishing.moves).toBe(PAIRS);
  return world;
}

describe("a rebalance of experts", () => {
  it("moves nothing where nothing is gained, however long the cluster runs", () => {
    const world = settledWorld(3);
    world.run(600_000);
    expect(world.router?.active?.epoch).toBe(1);
    expect(world.router?.publishing.moves).toBe(PAIRS);
  });

  it("moves no more than the share of the worker that joins, and leaves no expert without a worker for a moment", () => {
    const world = settledWorld(3);
    world.add("e3", "expert");
    for (let step = 0; step < 200; step += 1) {
      world.run(50);
      expect(world.router?.countWithoutLiveWorker()).toBe(0);
    }
    expect(world.router?.active?.workers.map(({ experts }) => experts.flat().length)).toEqual([6, 6, 6, 6]);
    expect(world.router?.publishing.moves).toBe(PAIRS + PAIRS / 4);
  });
});
