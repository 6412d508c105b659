import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compareGolden, goldenCases, judgeGolden, readGolden, waitUntil } from "@moiety/testing";
import { afterAll, beforeEach, expect, it } from "vitest";
import { readRun } from "../src/cluster/run-file.js";
import { moiety } from "./test-model.js";

const PATIENCE_MS = 60_000;
const golden = fileURLToPath(new URL("../../testing/fixtures/golden/", import.meta.url));
const checkpoint = join(golden, "ckpt", "A");

const root = mkdtempSync(join(tmpdir(), "moiety-eval-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Where the command keeps what its expert workers need. */
let temporary: string;
let out: string;
beforeEach(() => {
  temporary = mkdtempSync(join(root, "tmp-"));
  out = mkdtempSync(join(root, "out-"));
});

/** Starts `moiety eval` on checkpoint A with two expert workers. */
function evaluate(...flags: readonly string[]) {
  const given = [moiety, "eval", checkpoint, "--out", out, "--expert-workers", "2", "--threads", "2", ...flags];
  const child = spawn(process.execPath, given, { env: { ...process.env, TMPDIR: temporary }, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stdout.resume();
  const ended = new Promise<{ code: number | null; said: string }>((resolve) =>
    child.once("close", (code) => resolve({ code, said })),
  );
  const pids = () =>
    waitUntil("a router and two expert workers run", () => {
      const [folder] = readdirSync(temporary);
      const run = folder === undefined ? undefined : readRun(join(temporary, folder));
      return run?.processes.length === 3 ? run.processes.map(({ pid }) => pid) : undefined;
    });
  return { child, ended, pids };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Neither processes nor files. */
async function expectNothingLeft(pids: readonly number[]): Promise<void> {
  // Orphans that have ended count as alive until somebody has reaped them.
  await expect.poll(() => pids.filter(isAlive), { timeout: 10_000 }).toEqual([]);
  expect(readdirSync(temporary)).toEqual([]);
}

/** check.py where there is a python3, and the same comparison without one. */
function expectGolden(): void {
  const python = spawnSync(
    "python3",
    [join(golden, "check.py"), join(golden, "golden"), out, "--only", "A", "--need", "greedy"],
    {
      encoding: "utf8",
    },
  );
  if (python.error === undefined) {
    expect(python.stdout + python.stderr).toMatch(/^PASS$/m);
    expect(python.status).toBe(0);
    return;
  }
  const cases = goldenCases().filter((each) => each.checkpoint === "A");
  const checks = cases.map(({ name }) => {
    const results: Record<string, readonly unknown[]> = JSON.parse(readFileSync(join(out, `${name}.json`), "utf8"));
    const flat = Object.entries(results).map(([key, value]) => [key, value.flat(Number.POSITIVE_INFINITY)]);
    return compareGolden(readGolden(name), Object.fromEntries(flat), "fp32");
  });
  expect(judgeGolden(checks)).toBe(true);
}

it(
  "meets the golden outputs with two expert workers of its own, and stops them",
  async () => {
    const run = evaluate("--cases", join(golden, "cases.json"), "--activation", "f32");
    const pids = await run.pids();
    expect(await run.ended).toEqual({ code: 0, said: "" });
    expectGolden();
    await expectNothingLeft(pids);
  },
  PATIENCE_MS,
);

it(
  "writes the result of one prompt under its name",
  async () => {
    const flags = ["--tokens", "1,2", "--tokens", "3", "--name", "short", "--probe-ids", "7,8", "--forced", "9,10,11"];
    expect(await evaluate(...flags, "--generate", "4").ended).toEqual({ code: 0, said: "" });
    const result = JSON.parse(readFileSync(join(out, "short.json"), "utf8"));
    expect(result.tokens).toEqual([1, 2, 3]);
    expect(result.greedy).toHaveLength(4);
    expect(result.forced_argmax).toHaveLength(3);
    expect(result.probe_logits).toEqual(result.logits_all.map((row: readonly number[]) => [row[7], row[8]]));
  },
  PATIENCE_MS,
);

it(
  "stops its expert workers when it fails, and says why in one line",
  async () => {
    const run = evaluate("--tokens", "1,512");
    const pids = await run.pids();
    expect(await run.ended).toEqual({ code: 1, said: "moiety: prompt: 512 is not a token of the vocabulary of 512\n" });
    await expectNothingLeft(pids);
  },
  PATIENCE_MS,
);

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)(
  "stops its expert workers at %s",
  async (signal, code) => {
    const run = evaluate("--tokens", "1", "--generate", "50000");
    const pids = await run.pids();
    run.child.kill(signal);
    expect(await run.ended).toEqual({ code, said: "" });
    await expectNothingLeft(pids);
  },
  PATIENCE_MS,
);
