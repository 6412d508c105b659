import { settings } from "./settings.ts";

/** Codes that the summary lists. Any other counts in the sum alone. */
export const ERROR_CODES = [
  "no_answer",
  "cut",
  "timeout",
  "http_400",
  "http_401",
  "http_404",
  "http_429",
  "http_500",
  "http_503",
  "http_504",
  "unavailable",
  "internal_error",
  "rate_limit_exceeded",
] as const;

interface Metric {
  readonly type: "counter" | "gauge" | "rate" | "trend";
  readonly values: Readonly<Record<string, number>>;
  readonly thresholds?: Readonly<Record<string, { readonly ok: boolean }>>;
}

/** Of what k6 gives: what is used of it here. */
export interface SummaryData {
  readonly metrics: Readonly<Record<string, Metric>>;
  readonly state: { readonly testRunDurationMs: number };
}

const round = (value: number | undefined): string => {
  if (value === undefined) return "-";
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Math.round(value * 100) / 100);
};

const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  rows.length === 0 ? "None.\n" : `${[head, head.map(() => "---"), ...rows].map(row).join("\n")}\n`;

/** Only what a threshold asks for, and not what is there to be listed. */
const isAsked = (expression: string) => !expression.endsWith(">=0");

/** Files by name, and what is printed. */
export function summaries(data: SummaryData): Record<string, string> {
  const text = markdown(data);
  return {
    [`${settings.out}/summary.md`]: text,
    [`${settings.out}/summary.json`]: JSON.stringify(data, undefined, 2),
    stdout: `${text}\n`,
  };
}

function markdown({ metrics, state }: SummaryData): string {
  const all = Object.entries(metrics);
  const ours = all.filter(([name]) => name.startsWith("moiety_") && !name.startsWith("moiety_errors{"));
  const trends = ours.filter(([, { type, values }]) => type === "trend" && (values["count"] ?? 0) > 0);
  const seconds = state.testRunDurationMs / 1_000;
  return [
    `# Load test: ${settings.scenario}\n`,
    `${settings.model}, ${new Date().toISOString()}, ${round(seconds)} s, setting up included.\n`,
    "## Thresholds\n",
    table(["metric", "threshold", "", "is"], all.flatMap(thresholdRows)),
    "## Times (ms) and speeds\n",
    table(
      ["metric", "count", "median", "p95", "p99", "most"],
      trends.map(([name, { values }]) => [
        code(name),
        ...["count", "med", "p(95)", "p(99)", "max"].map((of) => round(values[of])),
      ]),
    ),
    "## Counts\n",
    table(
      ["metric", "count", "per second"],
      ours.flatMap(([name, { type, values }]) =>
        type === "counter" ? [[code(name), round(values["count"]), round(values["rate"])]] : [],
      ),
    ),
    "## Errors by code\n",
    table(["code", "count"], all.flatMap(errorRows)),
  ].join("\n");
}

const code = (name: string) => `\`${name.replaceAll("|", "\\|")}\``;

function thresholdRows([name, { values, thresholds = {} }]: readonly [string, Metric]): string[][] {
  return Object.entries(thresholds)
    .filter(([expression]) => isAsked(expression))
    .map(([expression, { ok }]) => {
      const of = expression.replace(/[<>=!].*$/, "");
      return [code(name), code(expression), ok ? "ok" : "**missed**", round(values[of])];
    });
}

function errorRows([name, { values }]: readonly [string, Metric]): string[][] {
  const found = /^moiety_errors\{code:(.+)\}$/.exec(name);
  const count = values["count"] ?? 0;
  return found?.[1] === undefined || count === 0 ? [] : [[found[1], String(count)]];
}
