import { readdirSync } from "node:fs";
import { parse } from "yaml";
import { REPOSITORY, readText } from "./repository.js";

export interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly runbook_url?: string };
}

export interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

export interface Panel {
  readonly dashboard: string;
  readonly title: string;
  readonly queries: readonly string[];
}

export const RULES_FOLDER = "deploy/prometheus/rules";
export const RULES_TESTS_FOLDER = "deploy/prometheus/tests";
export const RUNBOOKS_FOLDER = "docs/runbooks";
const DASHBOARDS_FOLDER = "deploy/grafana/dashboards";

/** The shipped rules, file by file. */
export function readRules(): readonly RuleFile[] {
  return readdirSync(`${REPOSITORY}${RULES_FOLDER}`).map((file) => parse(readText(`${RULES_FOLDER}/${file}`)) as RuleFile);
}

/** The page of each alert, by the alert's name. */
export function readRunbooks(): readonly { readonly name: string; readonly text: string }[] {
  const files = readdirSync(`${REPOSITORY}${RUNBOOKS_FOLDER}`).filter((file) => file !== "README.md");
  return files.sort().map((file) => ({ name: file.replace(/\.md$/, ""), text: readText(`${RUNBOOKS_FOLDER}/${file}`) }));
}

/** Every panel of the shipped dashboards that asks for something. */
export function readPanels(): readonly Panel[] {
  return readdirSync(`${REPOSITORY}${DASHBOARDS_FOLDER}`).flatMap((file) => {
    const { title: dashboard, panels } = JSON.parse(readText(`${DASHBOARDS_FOLDER}/${file}`)) as {
      readonly title: string;
      readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
    };
    return panels.flatMap(({ title, targets = [] }) =>
      targets.length === 0 ? [] : [{ dashboard, title, queries: targets.map(({ expr }) => expr) }],
    );
  });
}

/** The names of series that an expression reads. */
export function seriesOf(expr: string): readonly string[] {
  return [...expr.matchAll(/(?<![\w:])(?:vllm:|moiety[_:]|process_|nodejs_)[\w:]+/g)].map(([name]) => name);
}

/** The metrics that pages of the documentation list. */
export function documentedMetrics(): ReadonlySet<string> {
  const listed = [...readText("docs/metrics.md").matchAll(/^\| `([\w:]+)` \|/gm)].map(([, name]) => name ?? "");
  // Of processes with certificates alone, so that no table has it.
  const ofTls = [...readText("docs/security.md").matchAll(/`(moiety_\w+)`/g)].map(([, name]) => name ?? "");
  return new Set([...listed, ...ofTls]);
}
