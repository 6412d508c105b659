import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { VARIABLES } from "../../deploy/test/repository.js";
import { CHART } from "./helm.js";

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

const schema = JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8")) as Schema;

it("brings a schema, tables and dashboards that are made from its values, the services' variables and deploy/", () => {
  const { status, stderr } = spawnSync(process.execPath, [join(CHART, "../generate.mjs"), "--check"], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

it("has a sentence for every value, groups and variables included", () => {
  const silent: string[] = [];
  const visit = (at: Schema, path: string) => {
    for (const [key, child] of Object.entries(at.properties ?? {})) {
      // Helm's own, and what Kubernetes describes itself.
      if (path === "" && key === "global") continue;
      if (/\.(resources|behavior|rollingUpdate|files)$/.test(path)) continue;
      if (!/^\S.*\S$/.test(child.description ?? "")) silent.push(`${path}.${key}`);
      visit(child, `${path}.${key}`);
      if (key === "expertPools" && child.items !== undefined) visit(child.items, `${path}.${key}[]`);
    }
  };
  visit(schema, "");
  expect(silent).toEqual([]);
});

it.each([
  ["gateway", schema.properties?.["gateway"]],
  ["router", schema.properties?.["router"]],
  ["attention-worker", schema.properties?.["attention"]],
  ["expert-worker", schema.properties?.["expertDefaults"]],
  ["expert-worker", schema.properties?.["expertPools"]?.items],
] as const)("knows variables of the %s, but those that it sets itself", (service, values) => {
  const names = Object.keys(values?.properties?.["config"]?.properties ?? {});
  expect(names.length).toBeGreaterThan(3);
  expect(VARIABLES[service]).toEqual(expect.arrayContaining(names));
  for (const name of ["MOIETY_HTTP_PORT", "MOIETY_REDIS_URL", "MOIETY_LISTEN_ADDRESS"]) expect(names).not.toContain(name);
});
