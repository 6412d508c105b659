import { randomUUID } from "node:crypto";
import { AppError, type Clock, type Deferred, deferred } from "@moiety/core";
import type { Job, Worker } from "bullmq";

export interface JobFetcherOptions {
  readonly worker: Worker;
  readonly clock: Clock;
  readonly capacity: number;
  /** Serves a job to its end. Resolves with true when the job is done, with false when it is somebody else's business now. */
  readonly serve: (job: Job, token: string) => Promise<boolean>;
  readonly onError: (error: AppError) => void;
}

const RETRY_MS = 200;
/** Jobs fetched without waiting for one another. */
const MAX_AT_ONCE = 32;

/**
 * Takes jobs while fewer than `capacity` are being served. BullMQ's own loop would notice a raised concurrency only when one of its jobs
 * ends, and jobs here last as long as generations do.
 */
export class JobFetcher {
  readonly #options: JobFetcherOptions;
  readonly #serving = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #capacity: number;
  #room: Deferred<void> = deferred();
  #loop: Promise<void> | undefined;

  constructor(options: JobFetcherOptions) {
    this.#options = options;
    this.#capacity = options.capacity;
  }

  /** Whether more jobs are being served than the capacity allows: one was on its way when it was lowered. */
  get isOverfull(): boolean {
    return this.#serving.size > this.#capacity;
  }

  start(): void {
    this.#loop = this.#fetchAll();
  }

  setCapacity(jobs: number): void {
    this.#capacity = jobs;
    this.#room.resolve();
  }

  /** Fetches no more. */
  stop(): void {
    this.#closing.abort();
    this.#room.resolve();
  }

  /** Resolves when the last job was served and, after {@link stop}, the loop has ended. */
  async finished(): Promise<void> {
    await this.#loop;
    await Promise.all(this.#serving);
  }

  async #fetchAll(): Promise<void> {
    let atOnce = 1;
    while (!this.#closing.signal.aborted) {
      const room = this.#capacity - this.#serving.size;
      if (room <= 0) {
        await this.#room.promise;
        this.#room = deferred();
        continue;
      }
      const count = Math.min(room, atOnce);
      const fetched = await Promise.all(Array.from({ length: count }, () => this.#fetch(atOnce === 1)));
      // Twice as many while jobs are waiting; one, which waits for a job to come, once there are none.
      atOnce = fetched.every(Boolean) ? Math.min(2 * atOnce, MAX_AT_ONCE) : 1;
    }
  }

  /** Takes a job, if there is one; with `block` it waits up to a second for one. */
  async #fetch(block: boolean): Promise<boolean> {
    const { worker, clock, onError } = this.#options;
    const token = randomUUID();
    try {
      const job = await worker.getNextJob(token, { block });
      if (job) this.#take(job, token);
      return job !== undefined;
    } catch (error) {
      if (this.#closing.signal.aborted) return false;
      onError(AppError.from(error, "UNAVAILABLE"));
      await clock.sleep(RETRY_MS, this.#closing.signal).catch(() => undefined);
      return false;
    }
  }

  #take(job: Job, token: string): void {
    // Not before it is counted: serving asks whether there is room for it.
    const served = Promise.resolve()
      .then(() => this.#serve(job, token))
      .finally(() => {
        this.#serving.delete(served);
        this.#room.resolve();
      });
    this.#serving.add(served);
  }

  async #serve(job: Job, token: string): Promise<void> {
    try {
      if (await this.#options.serve(job, token)) await job.moveToCompleted(undefined, token, false);
    } catch (error) {
      this.#options.onError(AppError.from(error, "UNAVAILABLE"));
    }
  }
}
