import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { documentedTable, metricTable } from "../../../packages/runtime/test/metric-table.js";
import { createAttentionMetrics } from "./metrics.js";

describe("the metrics of an attention worker", () => {
  it("are those of the documentation, all of them and no others", async () => {
    const registry = new Registry();
    createAttentionMetrics({ registry, modelName: "m", engine: "a0" });
    expect(await documentedTable("attention-worker")).toBe(metricTable(registry));
  });
});
