import { systemClock } from "@moiety/core";
import { createLogger } from "@moiety/runtime";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { documentedTable, metricTable } from "../../../packages/runtime/test/metric-table.js";
import { Leadership } from "./leadership.js";
import { createRouterMetrics } from "./metrics.js";

describe("the metrics of the router", () => {
  it("are those of the documentation, all of them and no others", async () => {
    const registry = new Registry();
    const limits = { maxMembers: 8, heartbeatTimeoutMs: 2_000, rejoinGraceMs: 100 };
    const publishing = { minExpertWorkers: 1, replicas: 1, settleMs: 100, growDelayMs: 100, rejoinGraceMs: 100 };
    const logger = createLogger({ service: "test", instance: "test", level: "silent" });
    const cluster = { limits, publishing };
    const leadership = new Leadership({ lease: undefined, leaseMs: 0, clock: systemClock, logger, cluster, onEvent: () => {} });
    createRouterMetrics({ registry, leadership, clock: systemClock });
    expect(await documentedTable("router")).toBe(metricTable(registry));
  });
});
