import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../src/cluster/ports.js";
import { type Run, readRun } from "../src/cluster/run-file.js";

const MOIETY = fileURLToPath(new URL("../bin/moiety.js", import.meta.url));
const PATIENCE_MS = 120_000;

const folder = mkdtempSync(join(tmpdir(), "moiety-up-"));
let up: ChildProcess;
let output = "";
let url: string;
let exit: Promise<number | null>;

beforeAll(async () => {
  const [port = 0] = await freePorts(1);
  url = `http://127.0.0.1:${port}`;
  up = spawn(process.execPath, [MOIETY, "up", "--port", String(port), "--data-dir", folder, "--threads", "1"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  up.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  up.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  exit = new Promise((resolve) => up.once("exit", resolve));
  await until(() => output.includes("Moiety is ready") || up.exitCode !== null);
  expect(output).toContain("Moiety is ready");
}, PATIENCE_MS);

afterAll(async () => {
  if (up.exitCode === null) {
    up.kill("SIGTERM");
    await exit;
  }
  rmSync(folder, { recursive: true, force: true });
}, PATIENCE_MS);

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(20);
}

function run(): Run {
  const found = readRun(folder);
  if (found === undefined) throw new Error(`no run.json: ${output}`);
  return found;
}

const pidOf = (name: string) => run().processes.find((process) => process.name === name)?.pid ?? 0;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function complete(): Promise<string> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "moiety-tiny", prompt: "Once upon a time", max_tokens: 8, temperature: 0 }),
  });
  const body = (await response.json()) as { choices: readonly { text: string }[] };
  expect(response.status).toBe(200);
  return body.choices[0]?.text ?? "";
}

describe("moiety up", () => {
  it("prints a curl line that streams tokens when it is pasted", async () => {
    const line = output.split("\n").find((text) => text.trimStart().startsWith("curl"));
    const shell = spawn("sh", ["-c", line ?? "false"], { stdio: ["ignore", "pipe", "ignore"] });
    let streamed = "";
    shell.stdout.on("data", (chunk: Buffer) => (streamed += chunk.toString()));
    expect(await new Promise((resolve) => shell.once("exit", resolve))).toBe(0);
    expect(streamed).toMatch(/^data: \{[\s\S]*data: \[DONE\]\s*$/);
  });

  it(
    "starts a killed expert worker again, and the answer stays the same",
    async () => {
      const before = await complete();
      const killed = pidOf("expert-0");
      process.kill(killed, "SIGKILL");
      expect(await complete()).toBe(before);
      await until(() => output.includes("expert-0 is ready again"));
      expect(output).toContain("expert-0 ended unexpectedly (SIGKILL)");
      expect(pidOf("expert-0")).not.toBe(killed);
    },
    PATIENCE_MS,
  );

  it("refuses a second cluster in the same folder with one line", async () => {
    const [port = 0] = await freePorts(1);
    const second = spawn(process.execPath, [MOIETY, "up", "--port", String(port), "--data-dir", folder]);
    let said = "";
    second.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
    expect(await new Promise((resolve) => second.once("exit", resolve))).toBe(1);
    expect(said).toMatch(/^moiety: a cluster runs already in .*\n$/);
  });

  it(
    "stops every process at SIGINT",
    async () => {
      const pids = run().processes.map(({ pid }) => pid);
      expect(pids.every(isAlive)).toBe(true);
      up.kill("SIGINT");
      expect(await exit).toBe(0);
      expect(pids.filter(isAlive)).toEqual([]);
      expect(existsSync(join(folder, "run.json"))).toBe(false);
    },
    PATIENCE_MS,
  );
});
