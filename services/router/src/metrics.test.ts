import { systemClock } from "@moiety/core";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { documentedTable, metricTable } from "../../../packages/runtime/test/metric-table.js";
import { Cluster } from "./cluster.js";
import { createRouterMetrics } from "./metrics.js";
import { RowCounts } from "./row-counts.js";

describe("the metrics of the router", () => {
  it("are those of the documentation, all of them and no others", async () => {
    const registry = new Registry();
    const limits = { maxMembers: 8, heartbeatTimeoutMs: 2_000, rejoinGraceMs: 100 };
    const publishing = { minExpertWorkers: 1, replicas: 1, settleMs: 100, growDelayMs: 100, rejoinGraceMs: 100 };
    const cluster = new Cluster({ limits, publishing, nowMs: 0 });
    createRouterMetrics({ registry, cluster: () => cluster, rowCounts: new RowCounts(), clock: systemClock });
    expect(await documentedTable("router")).toBe(metricTable(registry));
  });
});
