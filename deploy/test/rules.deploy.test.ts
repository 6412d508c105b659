import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { documentedMetrics, RULES_FOLDER, RULES_TESTS_FOLDER, readPanels, readRules, seriesOf } from "./observed.js";
import { findProgram } from "./program.js";
import { REPOSITORY, readText } from "./repository.js";

interface RuleTest {
  readonly alert_rule_test?: readonly { readonly alertname: string; readonly exp_alerts?: readonly unknown[] }[];
  readonly promql_expr_test?: readonly { readonly expr: string }[];
}

const rules = readRules().flatMap(({ groups }) => groups.flatMap((group) => group.rules));
const alerts = rules.filter((rule) => rule.alert !== undefined);
const tests = readdirSync(`${REPOSITORY}${RULES_TESTS_FOLDER}`).flatMap(
  (file) => (parse(readText(`${RULES_TESTS_FOLDER}/${file}`)) as { readonly tests: readonly RuleTest[] }).tests,
);
const promtool = findProgram("promtool");

function check(...words: string[]): void {
  const { status, stdout, stderr } = spawnSync(promtool ?? "", words, { cwd: REPOSITORY, encoding: "utf8" });
  expect(`${stdout}${stderr}`).toContain("SUCCESS");
  expect(status).toBe(0);
}

/** The names that expressions read and that neither the documentation nor a rule knows. */
function unknownOf(expressions: readonly string[]): readonly string[] {
  const known = new Set(documentedMetrics());
  for (const { record } of rules) if (record !== undefined) known.add(record);
  const isKnown = (name: string) => known.has(name) || known.has(name.replace(/_(bucket|sum|count)$/, ""));
  const used = expressions.flatMap(seriesOf);
  expect(used.length).toBeGreaterThan(10);
  return used.filter((name) => !isKnown(name));
}

describe("the rules of Prometheus", () => {
  it("read metrics that exist", () => {
    expect(unknownOf(rules.map(({ expr }) => expr))).toEqual([]);
  });

  it.each(alerts)("$alert says how bad it is, what is wrong, and what to do", ({ alert, labels, annotations }) => {
    expect(labels?.severity).toMatch(/^(critical|warning)$/);
    expect(annotations?.summary).toMatch(/\.$/);
    expect(annotations?.runbook).toBe(`docs/runbooks.md#${alert?.toLowerCase()}`);
    expect(readText("docs/runbooks.md")).toContain(`\n## ${alert}\n`);
  });

  it.each(rules)("$alert$record is tested with series that bring it about", ({ alert, record }) => {
    const fires = tests.some(({ alert_rule_test: each = [] }) =>
      each.some(({ alertname, exp_alerts: expected = [] }) => alertname === alert && expected.length > 0),
    );
    const counts = tests.some(({ promql_expr_test: each = [] }) => each.some(({ expr }) => record && expr.includes(record)));
    expect(fires || counts).toBe(true);
  });

  it.runIf(promtool !== undefined)("are rules, and fire when they should", () => {
    for (const file of readdirSync(`${REPOSITORY}${RULES_FOLDER}`)) check("check", "rules", `${RULES_FOLDER}/${file}`);
    for (const file of readdirSync(`${REPOSITORY}${RULES_TESTS_FOLDER}`)) check("test", "rules", `${RULES_TESTS_FOLDER}/${file}`);
  });
});

describe("the dashboards of Grafana", () => {
  it("draw metrics that exist", () => {
    expect(unknownOf(readPanels().flatMap(({ queries }) => queries))).toEqual([]);
  });

  it("are what is made from their panels", () => {
    const { status, stderr } = spawnSync("node", ["deploy/grafana/generate.mjs", "--check"], {
      cwd: REPOSITORY,
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  it("are those that the chart carries", () => {
    const carried = readdirSync(`${REPOSITORY}charts/moiety/files/dashboards`);
    expect(carried).toEqual(readdirSync(`${REPOSITORY}deploy/grafana/dashboards`));
  });
});
