import { describe, expect, it } from "vitest";
import { documentedTable, metricTable } from "../test/metric-table.js";
import { createRegistry } from "./metrics.js";

describe("a process's own metrics", () => {
  it.runIf(process.platform === "linux")("are those of the documentation, all of them and no others", async () => {
    expect(await documentedTable("Every process")).toBe(metricTable(createRegistry({})));
  });
});
