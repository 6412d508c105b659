import { readFileSync } from "node:fs";
import { StepError } from "../tools/setup/step.mjs";

/** What the loud tenant may have: few answers at once, and so many requests a minute that its 429s have headers. */
const LIMITS = { concurrent_requests: 2, requests_per_minute: 100_000 };
/** How much slower the calm tenant's 95th percentile may be for another's being over its limit. */
const MOST = 1.1;
const METRICS = ["moiety_time_to_first_token", "moiety_answer_time"];

/** @throws StepError */
export async function limitTenant({ url }, { tenant, adminKey }) {
  const response = await fetch(`${url}/admin/v1/tenants/${tenant}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${adminKey}` },
    body: JSON.stringify({ limits: LIMITS }),
  });
  if (!response.ok) throw new StepError(`the tenant's limits could not be set: ${response.status} ${await response.text()}`);
}

const p95 = (metrics, name, phase) => metrics[`${name}{phase:${phase}}`].values["p(95)"];

/** A section of the summary, and what is at fault in it. */
export function compareTenants(summaryPath) {
  const { metrics } = JSON.parse(readFileSync(summaryPath, "utf8"));
  const rows = METRICS.map((name) => {
    const [alone, within, over] = ["alone", "within", "over"].map((phase) => p95(metrics, name, phase));
    return { name, alone, within, over, ratio: over / within };
  });
  const lines = rows.map(({ name, alone, within, over, ratio }) => {
    const cells = [alone, within, over].map((ms) => ms.toFixed(0));
    return `| \`${name}\` | ${cells.join(" | ")} | ${ratio.toFixed(2)} |`;
  });
  const head =
    "| p95, ms | alone | beside a tenant at its limit | beside it, over its limit | over / at |\n| --- | --- | --- | --- | --- |";
  const faults = rows
    .filter(({ ratio }) => !(ratio <= MOST))
    .map(({ name, ratio }) => `${name}: a tenant over its limit made another's p95 ${ratio.toFixed(2)} times as long`);
  return { report: `\n## The calm tenant\n\n${head}\n${lines.join("\n")}\n`, faults };
}
