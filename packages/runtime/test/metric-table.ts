import { readFile } from "node:fs/promises";
import type { MetricObject, Registry } from "prom-client";

const PAGE = new URL("../../../docs/metrics.md", import.meta.url);

/** Every metric of a registry as the table that docs/metrics.md has to hold. */
export function metricTable(registry: Registry): string {
  const metrics = registry.getMetricsAsArray() as readonly (MetricObject & { readonly labelNames?: readonly string[] })[];
  const rows = metrics.map(({ name, type, labelNames = [], help }) => {
    const labels = labelNames.filter((label) => label !== "le").map((label) => `\`${label}\``);
    return `| \`${name}\` | ${type} | ${labels.join(", ")} | ${help} |`;
  });
  return ["| metric | type | labels | meaning |", "|---|---|---|---|", ...rows.sort()].join("\n");
}

/** The table under a heading of docs/metrics.md. */
export async function documentedTable(heading: string): Promise<string> {
  const page = await readFile(PAGE, "utf8");
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? "";
  return section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .join("\n");
}
