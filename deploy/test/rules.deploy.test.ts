import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import {
  documentedMetrics,
  RULES_FOLDER,
  RULES_TESTS_FOLDER,
  RUNBOOKS_FOLDER,
  readPanels,
  readRules,
  readRunbooks,
  seriesOf,
} from "./observed.js";
import { findProgram } from "./program.js";
import { REPOSITORY, readText, VARIABLES } from "./repository.js";

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

/** The code of all processes. */
function sources(): readonly string[] {
  const folders = [...readdirSync(`${REPOSITORY}services`).map((name) => `services/${name}/src`), "packages/runtime/src"];
  const files = folders.flatMap((folder) =>
    readdirSync(`${REPOSITORY}${folder}`, { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`),
  );
  return files.filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts")).map(readText);
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
    expect(annotations?.runbook_url).toBe(`${RUNBOOKS_FOLDER}/${alert}.md`);
    expect(readRunbooks().find(({ name }) => name === alert)?.text).toMatch(new RegExp(`^# ${alert}\n\n`));
    expect(readText(`${RUNBOOKS_FOLDER}/README.md`)).toContain(`| [${alert}](${alert}.md) | ${labels?.severity} |`);
  });

  it.each(rules)("$alert$record is tested with series that bring it about", ({ alert, record }) => {
    const fires = tests.some(({ alert_rule_test: each = [] }) =>
      each.some(({ alertname, exp_alerts: expected = [] }) => alertname === alert && expected.length > 0),
    );
    const counts = tests.some(({ promql_expr_test: each = [] }) => each.some(({ expr }) => record && expr.includes(record)));
    expect(fires || counts).toBe(true);
  });

  it.runIf(promtool !== undefined)("are rules, and fire when they should", { timeout: 120_000 }, () => {
    for (const file of readdirSync(`${REPOSITORY}${RULES_FOLDER}`)) check("check", "rules", `${RULES_FOLDER}/${file}`);
    for (const file of readdirSync(`${REPOSITORY}${RULES_TESTS_FOLDER}`)) check("test", "rules", `${RULES_TESTS_FOLDER}/${file}`);
  });
});

describe("the runbooks", () => {
  const pages = readRunbooks();
  const found = (pattern: RegExp) => pages.flatMap(({ text }) => [...text.matchAll(pattern)].map(([, each]) => each ?? ""));
  const queries = found(/```promql\n(.*?)```/gs).flatMap((block) => block.trim().split("\n"));

  it("are about alerts that there are", () => {
    expect(pages.map(({ name }) => name)).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it("name metrics, panels and variables that exist", () => {
    expect(unknownOf([...queries, ...found(/`([^`\n]+)`/g)])).toEqual([]);
    const panels = readPanels().map(({ dashboard, title }) => `${dashboard.replace("Moiety / ", "")}: ${title}`);
    expect(panels).toEqual(expect.arrayContaining(found(/\*([A-Z][\w ]+: [^*\n]+)\*/g)));
    expect(Object.values(VARIABLES).flat()).toEqual(expect.arrayContaining(found(/(MOIETY_\w+)/g)));
  });

  it("quote log lines that the processes write", () => {
    const quoted = [...new Set(found(/`"([^`\n]+)"`/g))];
    expect(quoted.length).toBeGreaterThan(10);
    const code = sources().join("\n");
    expect(quoted.filter((line) => !code.includes(`"${line}"`))).toEqual([]);
  });

  it.runIf(promtool !== undefined)("ask Prometheus what it understands", () => {
    expect(queries.length).toBeGreaterThan(alerts.length);
    const folder = mkdtempSync(join(tmpdir(), "moiety-runbooks-"));
    const asked = queries.map((expr, index) => ({ record: `moiety:query:${index}`, expr }));
    writeFileSync(join(folder, "queries.yaml"), stringify({ groups: [{ name: "queries", rules: asked }] }));
    try {
      check("check", "rules", join(folder, "queries.yaml"));
    } finally {
      rmSync(folder, { recursive: true });
    }
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
