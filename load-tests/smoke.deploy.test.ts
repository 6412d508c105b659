import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { whyNoK6 } from "./k6-program.mjs";

/** A first run builds k6. */
const PATIENCE_MS = 900_000;
const RUN = fileURLToPath(new URL("run.mjs", import.meta.url));
/** Building k6 takes minutes and the network. */
const isAsked = process.env["npm_lifecycle_event"] === "test:deploy" || process.env["MOIETY_K6"] !== undefined;
const missing = isAsked ? whyNoK6() : "`npm run test:deploy` runs it";
const reason = missing === undefined ? "" : ` (skipped: ${missing})`;

function load(given: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const options = { encoding: "utf8", env: { ...process.env, ...environment } } as const;
  return spawnSync(process.execPath, [RUN, ...given], options);
}

describe.skipIf(missing !== undefined)(`a load test${reason}`, () => {
  it("of the scenario smoke succeeds on a cluster of its own, and writes what it saw", { timeout: PATIENCE_MS }, () => {
    const { status, stdout, stderr } = load(["smoke"]);
    expect(status, `${stdout}${stderr}`).toBe(0);
    const summary = /summary in (.+)$/m.exec(stdout)?.[1] ?? "";
    const text = readFileSync(summary, "utf8");
    expect(text).toContain("| `checks` | `rate==1` | ok | 1 |");
    expect(text).toContain("| `moiety_streams_failed` | `rate==0` | ok | 0 |");
    expect(text).toMatch(/\| `moiety_time_to_first_token` \| 2 \|/);
  });

  it("fails when the API answers no stream as it should", { timeout: PATIENCE_MS }, () => {
    const { status, stderr } = load(["smoke", "--url", "http://127.0.0.1:1"]);
    expect(status, stderr).not.toBe(0);
  });
});

describe("a load test that cannot run", () => {
  it("says what is missing when there is neither k6 nor Go", () => {
    const { status, stderr } = load(["smoke"], { PATH: "/nowhere", XDG_CACHE_HOME: "/nowhere", MOIETY_K6: "" });
    expect(status).toBe(2);
    expect(stderr).toContain("there is no go on PATH");
  });

  it("names the scenarios when it is told another", () => {
    const { status, stderr } = load(["smokey"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/no scenario "smokey"[\s\S]*smoke, steady/);
  });
});
