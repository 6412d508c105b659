import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { documentedTable, metricTable } from "../../../packages/runtime/test/metric-table.js";
import { createWorkerMetrics } from "./metrics.js";

describe("the metrics of an expert worker", () => {
  it("are those of the documentation, all of them and no others", async () => {
    const registry = new Registry();
    createWorkerMetrics(registry, {
      queuedCalls: () => 0,
      queuedBytes: () => 0,
      runningCalls: () => 0,
      links: () => 0,
      residentBytes: () => 0,
      heldExperts: () => 0,
      readyEpoch: () => 0,
      forEachHeat: () => {},
    });
    expect(await documentedTable("expert-worker")).toBe(metricTable(registry));
  });
});
