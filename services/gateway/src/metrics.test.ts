import { systemClock } from "@moiety/core";
import type { RequestProducer } from "@moiety/queue";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { documentedTable, metricTable } from "../../../packages/runtime/test/metric-table.js";
import { createGatewayMetrics } from "./metrics.js";

describe("the metrics of a gateway", () => {
  it("are those of the documentation, all of them and no others", async () => {
    const registry = new Registry();
    // Only a scrape asks the producer, and nothing scrapes here.
    const producer = {} as RequestProducer;
    createGatewayMetrics({ registry, producer, clock: systemClock, modelName: "m" });
    expect(await documentedTable("gateway")).toBe(metricTable(registry));
  });
});
