#!/usr/bin/env node
// Load tests with k6. Starts a cluster with the default model, unless --url names an API.
import { appendFileSync, mkdirSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { openSubject } from "../conformance/cluster.mjs";
import { STATE, StepError } from "../tools/setup/step.mjs";
import { Chaos } from "./chaos.mjs";
import { preparedK6 } from "./k6-program.mjs";
import { runK6 } from "./k6-run.mjs";
import { MemoryWatch } from "./memory-watch.mjs";
import { compareTenants, limitTenant } from "./over-limit.mjs";
import { openTokenSource } from "./token-source.mjs";

const SCENARIOS = [
  "smoke",
  "steady",
  "spike",
  "soak",
  "long-context",
  "mixed-tenants",
  "over-limit",
  "idle-streams",
  "chaos",
  "rolling",
  "streams",
  "requests",
];
/** Of these the gateway is the subject: without --url, a source of tokens stands in place of the engine. */
const PACE_MS = { streams: 1_000, requests: 0 };
const USAGE = `Usage: npm run load -- <scenario> [options]

Scenarios: ${SCENARIOS.join(", ")}; docs/load-tests.md says what each shows.
"npm run load -- build" only finds or builds k6.

  --url URL             an API that runs already; default: a cluster of its own with the default model
  --key KEY[,KEY]       its keys, one of each tenant
  --duration SECONDS    of the load; each scenario has its own
  --rate COUNT          requests per second (default: 2)
  --requests COUNT      of the scenario requests (default: 100000)
  --streams COUNT       streams at once, where a scenario holds a number of them
  --context TOKENS      longest prompt plus answer (default: the model's, 16384 at most)
  --first-token MS      what the 95th percentile of the time to the first token has to stay under (default: 3000)
  --gap MS              and that of the gaps between tokens (default: 500)
  --until URL           of the scenario rolling, which needs --url as well: it goes on for as long as this answers 200

  MOIETY_K6             a k6 built from load-tests/k6-events, instead of one that is built here, which needs Go
`;

/** Of a cluster of its own. */
const ADMIN_KEY = "load-tests-admin-key";
const TENANTS = { interactive: "load-interactive", bulk: "load-bulk" };
const OPTIONS = ["url", "key", "duration", "rate", "requests", "streams", "context", "first-token", "gap", "until"];
const NUMBERS = OPTIONS.slice(2, -1);

/** @throws StepError */
function readArguments() {
  const options = Object.fromEntries(OPTIONS.map((name) => [name, { type: "string" }]));
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    for (const name of NUMBERS) {
      if (values[name] !== undefined && !(Number(values[name]) > 0)) throw new Error(`--${name}: expected a number above 0`);
    }
    const [scenario = "", ...rest] = positionals;
    if (rest.length > 0) throw new Error(`expected one scenario, found ${positionals.join(" ")}`);
    return { scenario, values };
  } catch (error) {
    throw new StepError(error.message);
  }
}

async function main() {
  if (process.argv.includes("--help")) return console.log(USAGE);
  const { scenario, values } = readArguments();
  if (scenario === "build") return console.log(await preparedK6());
  if (!SCENARIOS.includes(scenario)) throw new StepError(`no scenario ${JSON.stringify(scenario)}\n\n${USAGE}`);
  if (scenario === "chaos" && values.url !== undefined)
    throw new StepError("chaos kills processes: it needs a cluster of its own, without --url");
  if (scenario === "rolling" && (values.url === undefined || values.until === undefined))
    throw new StepError("rolling loads a cluster whose processes somebody else restarts: it needs --url and --until");
  const k6 = await preparedK6();
  const out = join(STATE, "load", `${scenario}-${new Date().toISOString().replaceAll(":", "-").slice(0, 19)}`);
  mkdirSync(out, { recursive: true });
  const { subject, keys } = await open(scenario, values);
  const interrupt = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => interrupt.abort());
  try {
    console.log(`load: ${scenario} on ${subject.model} at ${subject.url}`);
    process.exitCode = await measure({ scenario, values, k6, out, keys, subject, signal: interrupt.signal });
  } finally {
    await subject.stop();
  }
}

async function open(scenario, { url, key, streams }) {
  if (url === undefined && scenario in PACE_MS) {
    const subject = await openTokenSource({ streams: Number(streams ?? 2_000), intervalMs: PACE_MS[scenario] });
    return { subject, keys: [subject.key] };
  }
  const keys = url === undefined ? Object.values(TENANTS) : (key ?? "none").split(",");
  const named = Object.entries(TENANTS).map(([name, value]) => `${name}:${value}`);
  const environment = { MOIETY_API_KEYS: named.join(","), MOIETY_ADMIN_KEY: ADMIN_KEY };
  const subject = await openSubject(environment, { url, key: keys[0] });
  if (scenario === "over-limit" && url === undefined) {
    await limitTenant(subject, { tenant: "bulk", adminKey: ADMIN_KEY }).catch(async (error) => {
      await subject.stop();
      throw error;
    });
  }
  return { subject, keys };
}

/** Runs k6 and what belongs to it; its exit status, or 1 where only we found a fault. */
async function measure({ scenario, values, k6, out, keys, subject, signal }) {
  const memory = subject.dataDir === undefined ? undefined : new MemoryWatch(subject.dataDir);
  const ended = new AbortController();
  const chaos = scenario === "chaos" ? new Chaos(subject, ended.signal) : undefined;
  const killing = chaos?.run();
  const status = await runK6({ scenario, values, k6, out, keys, subject, signal });
  ended.abort();
  await killing;
  const summary = join(out, "summary.md");
  const tenants = scenario === "over-limit" ? compareTenants(join(out, "summary.json")) : undefined;
  appendFileSync(summary, `${chaos?.report() ?? ""}${tenants?.report ?? ""}${memory?.stop() ?? ""}`);
  console.log(`load: summary in ${relative(process.cwd(), summary)}`);
  const faults = chaos?.faults(join(out, "summary.json")) ?? tenants?.faults ?? [];
  for (const fault of faults) console.error(`load: ${fault}`);
  return status === 0 && faults.length > 0 ? 1 : status;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  console.error(`load: ${error.message}`);
  process.exitCode = 2;
}
