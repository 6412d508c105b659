import { type Deferred, deferred } from "@moiety/core";

/**
 * Lines of a batch whose tenant is at its limits wait aside, without a slot, so that they hold up nobody else's. No further line of the
 * batch begins meanwhile: it would only join them.
 */
export class Aside {
  #count = 0;
  #empty: Deferred<void> = deferred();

  async during(work: () => Promise<void>): Promise<void> {
    this.#count += 1;
    try {
      await work();
    } finally {
      this.#count -= 1;
      if (this.#count === 0) this.#empty.resolve();
    }
  }

  /** Waits until no line is aside. */
  async clear(): Promise<void> {
    while (this.#count > 0) {
      await this.#empty.promise;
      this.#empty = deferred();
    }
  }
}
