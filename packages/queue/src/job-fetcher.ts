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
    while (!this.#closing.signal.aborted) {
      if (this.#serving.size >= this.#capacity) {
        await this.#room.promise;
        this.#room = deferred();
        continue;
      }
      const token = randomUUID();
      const job = await this.#next(token);
      if (job) this.#take(job, token);
    }
  }

  /** Waits up to a second for a job. */
  async #next(token: string): Promise<Job | undefined> {
    const { worker, clock, onError } = this.#options;
    try {
      return await worker.getNextJob(token);
    } catch (error) {
      if (this.#closing.signal.aborted) return undefined;
      onError(AppError.from(error, "UNAVAILABLE"));
      await clock.sleep(RETRY_MS, this.#closing.signal).catch(() => undefined);
      return undefined;
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
