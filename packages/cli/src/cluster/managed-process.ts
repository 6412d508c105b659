import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { AppError } from "@moiety/core";
import { displayPath } from "../display-path.js";
import type { ProcessPlan } from "./run-plan.js";

export interface LaunchOptions {
  readonly plan: ProcessPlan;
  /** The program and the arguments before the plan's own. */
  readonly command: readonly [string, ...string[]];
  readonly environment: NodeJS.ProcessEnv;
  /** File that its output is appended to. */
  readonly log: string;
}

export interface Ending {
  /** Such as `exit code 1` or `SIGKILL`. */
  readonly how: string;
}

/** A process of the cluster that was started. */
export class ManagedProcess {
  readonly plan: ProcessPlan;
  readonly startedMs = performance.now();
  /** Resolves when the process has ended, however it did. */
  readonly ended: Promise<Ending>;
  private readonly child: ChildProcess;
  private ending: Ending | undefined;

  constructor(options: LaunchOptions) {
    this.plan = options.plan;
    const [program, ...before] = options.command;
    const output = openSync(options.log, "a");
    this.child = spawn(program, [...before, ...options.plan.given], {
      // A group of its own: a Ctrl-C in the terminal reaches `moiety up` alone, which stops the processes in order.
      detached: true,
      env: { ...options.environment, ...options.plan.environment },
      // The channel closes when `moiety up` dies, so that services do not outlive it.
      stdio: options.plan.kind === "redis" ? ["ignore", output, output] : ["ignore", output, output, "ipc"],
    });
    closeSync(output);
    this.child.channel?.unref();
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.ending ??= { how };
        resolve(this.ending);
      };
      this.child.once("error", (error) => end(`cannot start: ${error.message}`));
      this.child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get running(): boolean {
    return this.ending === undefined;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }
}

/** An error that shows how a process ended and what it said last. */
export function endedError(name: string, ending: Ending, log: string): AppError {
  const last = lastLines(log, 6)
    .map((line) => `\n  ${line}`)
    .join("");
  return new AppError("UNAVAILABLE", `${name} ended (${ending.how}) before it was ready${last}\n  log: ${displayPath(log)}`);
}

function lastLines(path: string, count: number): string[] {
  try {
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    return lines.slice(-count).map((line) => (line.length > 600 ? `${line.slice(0, 600)}…` : line));
  } catch {
    return [];
  }
}
