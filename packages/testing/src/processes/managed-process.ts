import { type ChildProcess, spawn } from "node:child_process";
import { OutputTail } from "./output-tail.js";
import { unwatch, watch } from "./reaper.js";

export interface ProcessCommand {
  /** For failure messages. */
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  /** The whole environment of the process; PATH and HOME of this one are added. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface ProcessExit {
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  exit: ProcessExit | undefined;
}

/** A real child process that can be killed, frozen and started again with the same command. It never outlives this process. */
export class ManagedProcess {
  readonly output = new OutputTail();
  readonly command: ProcessCommand;
  #running: Running | undefined;

  constructor(command: ProcessCommand) {
    this.command = command;
  }

  get pid(): number | undefined {
    return this.isAlive ? this.#running?.pid : undefined;
  }

  get isAlive(): boolean {
    return this.#running !== undefined && this.#running.exit === undefined;
  }

  /** How it ended; absent while it runs or before it ran. */
  get exit(): ProcessExit | undefined {
    return this.#running?.exit;
  }

  start(): void {
    if (this.isAlive) throw new Error(`${this.command.name} runs already`);
    const { file, args, env, cwd } = this.command;
    const inherited = { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/" };
    const child = spawn(file, [...args], {
      env: { ...inherited, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      ...(cwd === undefined ? {} : { cwd }),
    });
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => this.output.append(chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => this.output.append(chunk));
    this.#running = follow(child, this.output);
  }

  /** SIGKILL, as a crash would be. Resolves once it is gone; does nothing when it already is. */
  async kill(): Promise<void> {
    this.signal("SIGCONT");
    this.signal("SIGKILL");
    await this.#running?.exited;
  }

  /** SIGTERM, and then SIGKILL after `timeoutMs`. */
  async terminate(timeoutMs = 10_000): Promise<ProcessExit> {
    if (this.#running === undefined) throw new Error(`${this.command.name} was never started`);
    this.signal("SIGCONT");
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), timeoutMs);
    const exit = await this.#running.exited;
    clearTimeout(timer);
    return exit;
  }

  /** SIGSTOP: alive for the system, silent for everybody else. */
  freeze(): void {
    this.signal("SIGSTOP");
  }

  /** SIGCONT. */
  thaw(): void {
    this.signal("SIGCONT");
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isAlive) this.#running?.child.kill(signal);
  }

  async waitForExit(): Promise<ProcessExit> {
    if (this.#running === undefined) throw new Error(`${this.command.name} was never started`);
    return this.#running.exited;
  }

  /** What to add to the message of a test that failed because of this process. */
  describe(): string {
    const { exit } = this;
    const state =
      exit === undefined ? (this.isAlive ? "running" : "not started") : `ended: code ${exit.code}, signal ${exit.signal}`;
    return `${this.command.name} (${state}); its last output:\n${this.output.text()}`;
  }
}

function follow(child: ChildProcess, output: OutputTail): Running {
  const { pid = 0 } = child;
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("error", (error) => {
      output.append(`cannot be started: ${error.message}\n`);
      resolve({ code: undefined, signal: undefined });
    });
    child.once("exit", (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined }));
  });
  const running: Running = { child, pid, exited, exit: undefined };
  if (pid > 0) watch(pid);
  exited.then((exit) => {
    running.exit = exit;
    if (pid > 0) unwatch(pid);
  });
  return running;
}
