import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { preparedPython, run, WORK } from "../programs.mjs";

const HOOKS = fileURLToPath(new URL("hooks.py", import.meta.url));
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "events_conform",
];
/** Nothing is asked for that takes longer, however busy the machine. */
const REQUEST_TIMEOUT_S = 60;
const MAX_PASSES = 50;

/**
 * Runs schemathesis, with another seed each time, until it has made as many requests as were asked for or found a fault.
 *
 * @returns {Promise<boolean>} whether no answer was a fault of the server's and all were as the document says
 */
export async function fuzz(subject, given) {
  const end = given.indexOf("--");
  const { values } = parseArgs({
    args: end < 0 ? given : given.slice(0, end),
    options: { requests: { type: "string", default: "10000" }, seed: { type: "string", default: "1" } },
  });
  const more = end < 0 ? [] : given.slice(end + 1);
  const wanted = Number(values.requests);
  const python = await preparedPython();
  const operations = await countOperations(subject);
  const totals = new Map();
  let sent = 0;
  for (let pass = 0; sent < wanted && pass < MAX_PASSES; pass++) {
    const examples = Math.max(5, Math.ceil((wanted - sent) / operations / 2));
    const status = await runPass({ python, subject, seed: Number(values.seed) + pass, examples, more, totals });
    const before = sent;
    sent = [...totals.values()].reduce((sum, count) => sum + count, 0);
    printTotals(totals, sent);
    if (status !== 0) return false;
    if (sent === before) throw new Error("schemathesis sent no request");
  }
  return sent >= wanted;
}

async function countOperations({ url }) {
  const { paths } = await (await fetch(`${url}/openapi.json`)).json();
  return Object.values(paths).flatMap((operations) => Object.keys(operations)).length;
}

async function runPass({ python, subject, seed, examples, more, totals }) {
  const folder = join(WORK, "fuzz");
  mkdirSync(folder, { recursive: true });
  const countsFile = join(folder, "counts.json");
  rmSync(countsFile, { force: true });
  const options = {
    checks: CHECKS.join(","),
    "max-examples": examples,
    seed,
    // With more, it now and then trips over itself: Hypothesis is not made for threads.
    workers: 1,
    "request-timeout": REQUEST_TIMEOUT_S,
    "suppress-health-check": "all",
    "report-dir": folder,
    "generation-database": "none",
  };
  const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const key = `Authorization: Bearer ${subject.key}`;
  const command = [
    python,
    "-m",
    "schemathesis.cli",
    "run",
    `${subject.url}/openapi.json`,
    "--header",
    key,
    "--continue-on-failure",
    ...flags,
    ...more,
  ];
  const env = { SCHEMATHESIS_HOOKS: HOOKS, MOIETY_FUZZ_COUNTS: countsFile, MOIETY_FUZZ_MODEL: subject.model };
  const status = await run(command, { cwd: folder, env });
  if (existsSync(countsFile)) {
    for (const [operation, code, count] of JSON.parse(readFileSync(countsFile, "utf8"))) {
      const name = `${operation} ${code}`;
      totals.set(name, (totals.get(name) ?? 0) + count);
    }
  }
  return status;
}

function printTotals(totals, sent) {
  console.log(`\nconformance: ${sent} requests so far, by operation and status`);
  for (const [name, count] of [...totals].sort()) console.log(`  ${String(count).padStart(7)}  ${name}`);
}
