import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { StepError } from "../tools/setup/step.mjs";

const SCRIPT = fileURLToPath(new URL("k6/load.ts", import.meta.url));
const VARIABLES = {
  LOAD_DURATION_S: "duration",
  LOAD_RATE: "rate",
  LOAD_REQUESTS: "requests",
  LOAD_STREAMS: "streams",
  LOAD_CONTEXT_TOKENS: "context",
  LOAD_FIRST_TOKEN_MS: "first-token",
  LOAD_GAP_MS: "gap",
  LOAD_UNTIL: "until",
};

/**
 * Runs a scenario to its end. An abort ends it as Ctrl-C does: it writes its summary first.
 *
 * @returns {Promise<number>} k6's exit status: 99 when a threshold was missed
 */
export function runK6({ scenario, values, k6, out, keys, subject, signal }) {
  const given = Object.entries(VARIABLES).map(([variable, option]) => [variable, values[option] ?? ""]);
  const env = {
    ...process.env,
    ...Object.fromEntries(given),
    LOAD_SCENARIO: scenario,
    LOAD_URL: subject.url,
    LOAD_MODEL: subject.model,
    // Not on the command line, where others could read them.
    LOAD_KEYS: keys.join(","),
    LOAD_OUT: out,
    K6_NO_USAGE_REPORT: "true",
    // Everything that the script imports is built in: nothing is to be fetched.
    K6_AUTO_EXTENSION_RESOLUTION: "false",
  };
  const child = spawn(k6, ["run", "--quiet", "--no-color", "--address", "", SCRIPT], {
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  signal.addEventListener("abort", () => child.kill("SIGINT"));
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new StepError(`cannot run ${k6}: ${error.message}`)));
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
