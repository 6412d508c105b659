import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { REPOSITORY, readText } from "./repository.js";

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly runbook?: string };
}

const FOLDER = "deploy/prometheus/rules";
const files = readdirSync(`${REPOSITORY}${FOLDER}`);
const rules = files.flatMap((file) => {
  const { groups } = parse(readText(`${FOLDER}/${file}`)) as { readonly groups: readonly { readonly rules: readonly Rule[] }[] };
  return groups.flatMap((group) => group.rules);
});
const alerts = rules.filter((rule) => rule.alert !== undefined);
const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;
if (!hasPromtool) console.log("skipped: there is no promtool; Debian's package prometheus has it");

function promtool(...words: string[]): void {
  const { status, stdout, stderr } = spawnSync("promtool", words, { cwd: REPOSITORY, encoding: "utf8" });
  expect(`${stdout}${stderr}`).toContain("SUCCESS");
  expect(status).toBe(0);
}

describe("the rules of Prometheus", () => {
  it("read metrics that exist", () => {
    const listed = readText("docs/metrics.md").matchAll(/^\| `([\w:]+)` \|/gm);
    const known = new Set([...listed].map(([, name]) => name));
    for (const { record } of rules) if (record !== undefined) known.add(record);
    // Of processes with certificates alone, so that no table has it.
    for (const [, name] of readText("docs/security.md").matchAll(/`(moiety_\w+)`/g)) known.add(name);
    const used = new Set<string>();
    for (const { expr } of rules) {
      for (const [name] of expr.matchAll(/\b(?:vllm:|moiety[_:])[\w:]+/g)) used.add(name.replace(/_(bucket|sum|count)$/, ""));
    }
    expect(used.size).toBeGreaterThan(10);
    expect([...used].filter((name) => !known.has(name))).toEqual([]);
  });

  it.each(alerts)("$alert says how bad it is, what is wrong, and what to do", ({ alert, labels, annotations }) => {
    expect(labels?.severity).toMatch(/^(critical|warning)$/);
    expect(annotations?.summary).toMatch(/\.$/);
    expect(annotations?.runbook).toBe(`docs/runbooks.md#${alert?.toLowerCase()}`);
    expect(readText("docs/runbooks.md")).toContain(`\n## ${alert}\n`);
  });

  it.runIf(hasPromtool)("are rules, and fire when they should", () => {
    for (const file of files) promtool("check", "rules", `${FOLDER}/${file}`);
    for (const file of readdirSync(`${REPOSITORY}deploy/prometheus/tests`))
      promtool("test", "rules", `deploy/prometheus/tests/${file}`);
  });
});
