import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "@moiety/core";

/** A process that runs one file of this folder for the length of a measurement. It ends itself when its channel closes. */
export class FarEnd {
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;

  constructor(file: URL, given: readonly string[] = []) {
    const path = fileURLToPath(file);
    this.#child = fork(path, given, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", (error) => resolve(`${basename(path)} cannot start: ${error.message}`));
      this.#child.once("exit", (code, signal) => resolve(`${basename(path)} ended (${signal ?? `exit code ${code}`})`));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** What it says next. @throws AppError UNAVAILABLE when it ends instead. */
  async next(): Promise<unknown> {
    const listening = new AbortController();
    const said = once(this.#child, "message", { signal: listening.signal });
    const first = await Promise.race([said, this.#ended]);
    if (typeof first !== "string") return first[0];
    listening.abort();
    await said.catch(() => undefined);
    throw new AppError("UNAVAILABLE", first);
  }

  /** Says something, and returns the answer. */
  async ask(message: object): Promise<unknown> {
    const answer = this.next();
    if (this.#child.connected) this.#child.send(message);
    return answer;
  }

  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }
}
