import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mustRun, WORK } from "../programs.mjs";
import { figuresOf, printFigures } from "./figures.mjs";

/** OpenAI's test for providers of gpt-oss. It is fetched, not kept here. */
const SOURCE = "https://github.com/openai/gpt-oss";
const COMMIT = "7b583341fe16729127f6d5b94a7b09ccae97e1a1";
const FOLDER = "compatibility-test";
/** Runs TypeScript; the test says `tsx` and leaves it to whoever runs it. */
const TSX = "tsx@4";
const PROVIDER = "moiety";

/**
 * Of streams of responses the test looks for events in a wrapping that it has just taken off, and for the whole answer where the SDK does not put
 * it: as it is, it finds neither, whoever serves, and ends in an error of its own. These two places of the fetched copy are mended.
 */
const MENDED = [
  ["streamedEvents.push(event.data.event);", 'streamedEvents.push(apiType === "responses" ? event : event.data.event);'],
  [
    "      apiType,\n      result.rawResponses,\n",
    `      apiType,
      apiType !== "responses" || streamedEvents === undefined
        ? result.rawResponses
        : streamedEvents
            .map(({ data }) => data.event)
            .filter(({ type }) => /^response\\.(completed|incomplete)$/.test(type))
            .map(({ response }) => ({ providerData: response })),\n`,
  ],
];

/**
 * Runs the test as its own README says: an entry in providers.ts, then its program. Each API runs by itself, since an error in one of a case
 * would take the other's figure with it.
 *
 * @returns {Promise<boolean>} whether every answer was of the right shape, and every request was answered
 */
export async function checkAsProvider(subject, given) {
  const { values } = parseArgs({
    args: given,
    options: {
      cases: { type: "string", default: "30" },
      tries: { type: "string", default: "1" },
      streaming: { type: "boolean", default: false },
      api: { type: "string", multiple: true, default: ["chat", "responses"] },
      source: { type: "string", default: SOURCE },
    },
  });
  const folder = await fetchTest(values.source);
  const cases = pickCases(folder, wholeNumber("cases", values.cases));
  const tries = wholeNumber("tries", values.tries);
  const all = [];
  for (const api of values.api) {
    for (const streaming of values.streaming ? [false, true] : [false]) {
      const name = `${api}${streaming ? ", streamed" : ""}`;
      const records = await runTest({ subject, folder, cases, tries, api, streaming });
      all.push({ name, figures: figuresOf(records, { expected: cases.length * tries, streaming }) });
    }
  }
  printFigures(all);
  return all.every(({ figures }) => figures.invalidShapes === 0 && figures.faults.length === 0 && figures.missing === 0);
}

function wholeNumber(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: expected a whole number from 1, found ${text}`);
  return value;
}

async function fetchTest(source) {
  const folder = join(WORK, `gpt-oss-${COMMIT.slice(0, 12)}`);
  const done = join(folder, "fetched");
  if (existsSync(done)) return join(folder, FOLDER);
  console.log(`conformance: fetching ${FOLDER} of ${source} at ${COMMIT.slice(0, 12)}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const log = join(WORK, "provider-setup.log");
  const git = ["git", "-C", folder];
  await mustRun([...git, "init", "--quiet"], { log });
  await mustRun([...git, "remote", "add", "origin", source], { log });
  await mustRun([...git, "sparse-checkout", "set", FOLDER], { log });
  await mustRun([...git, "fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin", COMMIT], { log });
  await mustRun([...git, "-c", "advice.detachedHead=false", "checkout", "--quiet", COMMIT], { log });
  const cwd = join(folder, FOLDER);
  const npm = ["npm", "--no-audit", "--no-fund"];
  await mustRun([...npm, "ci"], { cwd, log });
  await mustRun([...npm, "install", "--no-save", TSX], { cwd, log });
  mend(join(cwd, "runCase.ts"));
  writeFileSync(done, COMMIT);
  return cwd;
}

function mend(file) {
  let text = readFileSync(file, "utf8");
  for (const [found, mended] of MENDED) {
    if (!text.includes(found)) throw new Error(`${file} has no ${JSON.stringify(found)} to mend`);
    text = text.replace(found, () => mended);
  }
  writeFileSync(file, text);
}

/** Evenly spread ones: the test's own limit takes the first, which all ask for the same function. */
function pickCases(folder, count) {
  const lines = readFileSync(join(folder, "cases.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line.trim() !== "");
  const taken = Math.min(count, lines.length);
  return Array.from({ length: taken }, (_, index) => lines[Math.floor((index * lines.length) / taken)]);
}

async function runTest({ subject, folder, cases, tries, api, streaming }) {
  const own = join(WORK, "provider", `${api}${streaming ? "-streamed" : ""}`);
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, "cases.jsonl"), `${cases.join("\n")}\n`);
  const entry = {
    apiBaseUrl: `${subject.url}/v1`,
    apiKey: subject.key,
    apiType: [api],
    modelName: subject.model,
    providerDetails: {},
  };
  writeFileSync(join(folder, "providers.ts"), `export const PROVIDERS = ${JSON.stringify({ [PROVIDER]: entry }, null, 2)};\n`);
  console.log(`conformance: ${api}${streaming ? ", streamed" : ""}: ${cases.length} cases, ${tries} of each`);
  const tsx = join(folder, "node_modules", ".bin", "tsx");
  const options = ["--provider", PROVIDER, "--cases", join(own, "cases.jsonl"), "--tries", String(tries)];
  const streamed = streaming ? ["--streaming"] : [];
  // Its results are written where it runs.
  await mustRun([tsx, join(folder, "index.ts"), ...options, ...streamed], { cwd: own, log: join(own, "output.log") });
  const rollout = readdirSync(own).find((name) => name.startsWith("rollout_"));
  if (rollout === undefined) throw new Error(`the test left no results in ${own}`);
  return readFileSync(join(own, rollout), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}
