import { deferred } from "@moiety/core";

/** A wait for the next change. */
export interface ChangeWait {
  readonly promise: Promise<void>;
  /** Waits no longer. To be called by everyone who raced the promise against another. */
  forget(): void;
}

/**
 * Tells those who wait that something changed. A promise shared by all of them would keep what every race left behind until the
 * next change, which may be days away.
 */
export class ChangeBell {
  readonly #waiting = new Set<() => void>();

  get waiting(): number {
    return this.#waiting.size;
  }

  next(): ChangeWait {
    const { promise, resolve } = deferred<void>();
    this.#waiting.add(resolve);
    return { promise, forget: () => this.#waiting.delete(resolve) };
  }

  ring(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}
