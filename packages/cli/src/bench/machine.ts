import { execFile } from "node:child_process";
import { cpus, loadavg, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { KernelLevel } from "@moiety/kernels";

/** What figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernelLevel: string;
  readonly node: string;
  readonly platform: string;
  /** Processes that wanted a core, on average over the minute before: figures of a busy machine say little. */
  readonly load: number;
  readonly date: string;
  /** Of the checkout that this file lies in, with `+` when it was changed since; absent when it lies in none. */
  readonly commit?: string;
}

/** @throws AppError FAILED_PRECONDITION when the kernels are not built or do not have this level. */
export async function describeMachine(level: KernelLevel | undefined): Promise<Machine> {
  const { openKernels } = await import("@moiety/kernels");
  const kernels = openKernels({ threads: 1, ...(level === undefined ? {} : { level }) });
  await kernels.close();
  const commit = await commitOfThisFile();
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernelLevel: kernels.level,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    load: loadavg()[0] ?? 0,
    date: new Date().toISOString(),
    ...(commit === undefined ? {} : { commit }),
  };
}

export function formatMachine(machine: Machine): string {
  const { cpu, cores, memoryBytes, kernelLevel, node, platform, load, date, commit } = machine;
  const memory = `${(memoryBytes / 2 ** 30).toFixed(1)} GiB`;
  const program = commit === undefined ? "" : `, commit ${commit}`;
  return `${cpu}, ${cores} cores, ${memory}, kernels ${kernelLevel}, Node ${node}, ${platform}${program}, load ${load.toFixed(1)}, ${date}`;
}

async function commitOfThisFile(): Promise<string | undefined> {
  const git = async (...given: string[]) =>
    (await promisify(execFile)("git", given, { cwd: fileURLToPath(new URL(".", import.meta.url)) })).stdout.trim();
  try {
    // An installed copy may lie inside somebody else's repository.
    await git("ls-files", "--error-unmatch", fileURLToPath(new URL("../../bin/moiety.js", import.meta.url)));
    const commit = await git("rev-parse", "--short=12", "HEAD");
    return (await git("status", "--porcelain", "--untracked-files=no")) === "" ? commit : `${commit}+`;
  } catch {
    return undefined;
  }
}
