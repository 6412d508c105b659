import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "@moiety/core";
import { z } from "zod";

const runSchema = z.object({
  /** Of `moiety up`. */
  pid: z.number().int().positive(),
  startedAt: z.string(),
  url: z.string(),
  redisUrl: z.string(),
  processes: z.array(
    z.object({
      name: z.string(),
      kind: z.string(),
      pid: z.number().int().positive(),
      readyPort: z.number().int(),
      log: z.string(),
    }),
  ),
});

/** What runs in a data folder, as run.json says. */
export type Run = z.output<typeof runSchema>;

const pathOf = (dataDir: string) => join(dataDir, "run.json");

/** The run that a data folder records; undefined when there is none, or the file is damaged. */
export function readRun(dataDir: string): Run | undefined {
  try {
    return runSchema.parse(JSON.parse(readFileSync(pathOf(dataDir), "utf8")));
  } catch {
    return undefined;
  }
}

/** Replaces run.json in one step. */
export function writeRun(dataDir: string, run: Run): void {
  mkdirSync(dataDir, { recursive: true });
  const fresh = `${pathOf(dataDir)}.new`;
  writeFileSync(fresh, `${JSON.stringify(run, undefined, 2)}\n`);
  renameSync(fresh, pathOf(dataDir));
}

export function removeRun(dataDir: string): void {
  rmSync(pathOf(dataDir), { force: true });
}

/**
 * Makes way for a new run: ends what a killed `moiety up` left behind.
 * @throws AppError ALREADY_EXISTS when another one runs in this folder.
 */
export async function endLeftovers(dataDir: string): Promise<readonly string[]> {
  const run = readRun(dataDir);
  if (run === undefined) return [];
  if (run.pid !== process.pid && isOurs(run.pid)) {
    const message = `a cluster runs already in ${dataDir} (process ${run.pid}, ${run.url}); stop it, or choose another --data-dir and --port`;
    throw new AppError("ALREADY_EXISTS", message);
  }
  const left = run.processes.filter(({ pid }) => isOurs(pid));
  for (const { pid } of left) signal(pid, "SIGTERM");
  const deadline = performance.now() + 5_000;
  while (left.some(({ pid }) => isOurs(pid)) && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 50));
  for (const { pid } of left.filter(({ pid }) => isOurs(pid))) signal(pid, "SIGKILL");
  removeRun(dataDir);
  return left.map(({ name }) => name);
}

/** Whether a process lives and is one that `moiety up` starts: ids are used again. */
function isOurs(pid: number): boolean {
  if (!signal(pid, 0)) return false;
  try {
    return /moiety|setup\.mjs|redis-server/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
  } catch {
    // No /proc on this system: believe the record.
    return process.platform !== "linux";
  }
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
