import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { endLeftovers, type Run, readRun, writeRun } from "./run-file.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "moiety-run-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const runOf = (pid: number, child: number): Run => ({
  pid,
  startedAt: "2026-01-01T00:00:00.000Z",
  url: "http://127.0.0.1:8080",
  redisUrl: "redis://127.0.0.1:6379",
  processes: [{ name: "expert-0", kind: "expert-worker", pid: child, readyPort: 1, log: "x" }],
});

/** A process whose command line looks like one of ours, or not. */
function sleeper(name: string) {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", name], { stdio: "ignore" });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  return { pid: child.pid ?? 0, ended, end: () => child.kill("SIGKILL") };
}

/** A process id that is certainly free: of a process that has ended. */
async function deadPid(): Promise<number> {
  const child = sleeper("dead");
  child.end();
  await child.ended;
  return child.pid;
}

it("ends what a killed run left behind, and forgets it", async () => {
  const child = sleeper("moiety serve expert-worker");
  writeRun(folder, runOf(await deadPid(), child.pid));
  expect(await endLeftovers(folder)).toEqual(["expert-0"]);
  expect(await child.ended).toBe("SIGTERM");
  expect(readRun(folder)).toBeUndefined();
});

it("leaves a stranger alone that was given the id of a process of ours", async () => {
  const stranger = sleeper("something else");
  writeRun(folder, runOf(await deadPid(), stranger.pid));
  expect(await endLeftovers(folder)).toEqual([]);
  stranger.end();
  expect(await stranger.ended).toBe("SIGKILL");
});

it("refuses to start over a cluster that runs", async () => {
  const up = sleeper("moiety up");
  writeRun(folder, runOf(up.pid, up.pid));
  await expect(endLeftovers(folder)).rejects.toThrow(/a cluster runs already .* choose another --data-dir and --port/);
  up.end();
});

it("takes a damaged file for none", async () => {
  writeFileSync(join(folder, "run.json"), '{"pid":');
  expect(await endLeftovers(folder)).toEqual([]);
});
