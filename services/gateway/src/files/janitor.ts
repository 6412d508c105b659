import type { Clock } from "@moiety/core";
import type { Ledgers } from "@moiety/queue";
import type { Logger } from "@moiety/runtime";
import { removeSegments } from "../batches/result-files.js";
import type { FileStore } from "./file-store.js";
import { fileFolder } from "./stored-file.js";

export interface JanitorOptions {
  readonly ledgers: Ledgers;
  readonly store: FileStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

const ROUND_MS = 15_000;
const ROUNDS_TO_TIDY = 240;

/** Removes files whose time has come, uploads that never ended, and what batches have left. Any number may do so side by side. */
export class Janitor {
  readonly #options: JanitorOptions;
  readonly #stopping = new AbortController();

  constructor(options: JanitorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#work().catch(() => undefined);
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #work(): Promise<void> {
    const { clock, logger } = this.#options;
    for (let round = 0; !this.#stopping.signal.aborted; round++) {
      try {
        await this.#clean(round % ROUNDS_TO_TIDY === 0);
      } catch (error) {
        logger.warn({ err: error }, "cleaning up files failed; it is tried again");
      }
      await clock.sleep(ROUND_MS, this.#stopping.signal);
    }
  }

  async #clean(tidy: boolean): Promise<void> {
    const { ledgers, store, clock } = this.#options;
    for (const id of await ledgers.files.due(clock.nowMs())) {
      await store.removeFolder(fileFolder(id));
      await ledgers.files.forget(id);
    }
    for (const id of await ledgers.batches.litter()) {
      await removeSegments(store, id);
      await ledgers.batches.forgetLitter(id);
    }
    if (tidy) await store.tidy(clock.nowMs());
  }
}
