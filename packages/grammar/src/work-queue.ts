import { AppError, BoundedQueue } from "@moiety/core";

export interface WorkQueueOptions {
  /** How many run at a time. */
  readonly running: number;
  /** How many may wait for their turn. */
  readonly waiting: number;
}

/** Runs so many pieces of work at a time, the others in order, and refuses what it has no room for. */
export class WorkQueue {
  readonly #waiting: BoundedQueue<() => void>;
  #free: number;

  constructor(options: WorkQueueOptions) {
    this.#free = options.running;
    this.#waiting = new BoundedQueue(options.waiting);
  }

  /** @throws AppError RESOURCE_EXHAUSTED when too many wait; whatever the work throws. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }

  #turn(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push(resolve)) return;
      const message = `${this.#waiting.capacity} grammars wait to be compiled; try again`;
      reject(new AppError("RESOURCE_EXHAUSTED", message, { details: { retryAfterMs: 1_000 } }));
    });
  }
}
