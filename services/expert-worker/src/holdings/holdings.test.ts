import { AppError, PlacementTable, parseWorkerId, systemClock } from "@moiety/core";
import { createLogger } from "@moiety/runtime";
import { afterEach, describe, expect, it } from "vitest";
import { StandInEngine } from "../../test/stand-in-engine.js";
import { Holdings } from "./holdings.js";

const self = parseWorkerId("me");
const other = parseWorkerId("other");
const open: Holdings[] = [];

function setup(drainMs: number) {
  const engine = new StandInEngine(2);
  const heard: number[] = [];
  const holdings = new Holdings({
    self,
    engine,
    expertsPerLayer: 4,
    expertRefs: (layer, expert) => ({ layer, expert }) as never,
    drainMs,
    clock: systemClock,
    logger: createLogger({ service: "test", instance: "test", level: "silent" }),
    onChange: () => heard.push(holdings.readyEpoch),
  });
  open.push(holdings);
  return { engine, holdings, heard };
}

function table(epoch: number, phase: "preparing" | "active", experts: readonly number[], id = self): PlacementTable {
  return new PlacementTable({
    epoch,
    phase,
    layers: 2,
    experts: 4,
    workers: [{ id, address: "h:1", experts: [experts, experts] }],
  });
}

function held(engine: StandInEngine): number[] {
  return [0, 1, 2, 3].filter((expert) => engine.holds(0, expert) && engine.holds(1, expert));
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

afterEach(async () => {
  await Promise.all(open.splice(0).map((holdings) => holdings.close()));
});

describe("holdings", () => {
  it("load exactly what a preparing placement gives, and say when they are ready", async () => {
    const { engine, holdings, heard } = setup(1_000);
    expect(holdings.missing()).toEqual(["placement: none was received yet"]);
    holdings.apply(table(3, "preparing", [1, 2]));
    expect(holdings.missing()).toHaveLength(1);
    await expect.poll(() => holdings.readyEpoch).toBe(3);
    expect(held(engine)).toEqual([1, 2]);
    expect(holdings.missing()).toEqual([]);
    expect(heard).toEqual([3]);
  });

  it("keep what the active placement needs while a newer one is prepared, and free it a drain time after", async () => {
    const { engine, holdings } = setup(150);
    holdings.apply(table(1, "active", [0, 1]));
    await expect.poll(() => holdings.readyEpoch).toBe(1);
    holdings.apply(table(2, "preparing", [1, 2]));
    await expect.poll(() => holdings.readyEpoch).toBe(2);
    await pause(250);
    expect(held(engine)).toEqual([0, 1, 2]);
    holdings.apply(table(2, "active", [1, 2]));
    await pause(50);
    expect(held(engine)).toEqual([0, 1, 2]);
    await expect.poll(() => held(engine)).toEqual([1, 2]);
  });

  it("do not free what comes back within the drain time", async () => {
    const { engine, holdings } = setup(150);
    holdings.apply(table(1, "active", [0, 1]));
    await expect.poll(() => holdings.readyEpoch).toBe(1);
    holdings.apply(table(2, "active", [1]));
    await pause(50);
    holdings.apply(table(3, "active", [0, 1]));
    await pause(300);
    expect(held(engine)).toEqual([0, 1]);
    expect(holdings.readyEpoch).toBe(3);
  });

  it("are ready at once for a placement that gives them nothing", async () => {
    const { engine, holdings } = setup(0);
    holdings.apply(table(1, "active", [0]));
    await expect.poll(() => holdings.readyEpoch).toBe(1);
    holdings.apply(table(2, "active", [0, 1, 2, 3], other));
    expect(holdings.readyEpoch).toBe(2);
    await expect.poll(() => held(engine)).toEqual([]);
  });

  it("report a fault, and recover from it", async () => {
    const { engine, holdings } = setup(0);
    const load = engine.load.bind(engine);
    let broken = true;
    engine.load = async (refs) => {
      if (broken && refs.expert === 1) throw new AppError("DATA_LOSS", "NaN scale");
      await load(refs);
    };
    holdings.apply(table(1, "active", [0, 1]));
    await expect.poll(() => holdings.fault).toContain("expert 1 of layer 0 cannot be loaded: NaN scale");
    expect(holdings.readyEpoch).toBe(0);
    expect(holdings.missing()).toHaveLength(2);
    broken = false;
    await expect.poll(() => holdings.readyEpoch, { timeout: 5_000 }).toBe(1);
    expect(holdings.fault).toBe("");
  });

  it("ignore a placement older than the newest", async () => {
    const { holdings } = setup(0);
    holdings.apply(table(5, "active", [0]));
    await expect.poll(() => holdings.readyEpoch).toBe(5);
    holdings.apply(table(4, "active", [1]));
    expect(holdings.newestEpoch).toBe(5);
  });
});
