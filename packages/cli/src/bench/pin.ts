import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { AppError } from "@moiety/core";

/**
 * Gives one process the first processor for itself, and all others the rest, for as long as they run.
 * @throws AppError FAILED_PRECONDITION without `taskset` or a second processor.
 */
export function pinApart(alone: readonly number[], others: readonly number[]): void {
  const count = cpus().length;
  if (count < 2) throw new AppError("FAILED_PRECONDITION", "--pin: there is only one processor");
  const pin = (processors: string) => (pid: number) => {
    try {
      execFileSync("taskset", ["--all-tasks", "--pid", "--cpu-list", processors, String(pid)], { stdio: "ignore" });
    } catch (cause) {
      throw new AppError("FAILED_PRECONDITION", "--pin: taskset is missing, or refuses", { cause });
    }
  };
  alone.forEach(pin("0"));
  others.forEach(pin(`1-${count - 1}`));
}
