import { type Deferred, deferred } from "@moiety/core";

/** Lets one loop sleep until something happens. What happens while it is awake is not missed. */
export class Wake {
  #pending = false;
  #sleeper: Deferred<void> | undefined;

  wake(): void {
    this.#pending = true;
    this.#sleeper?.resolve();
  }

  async sleep(): Promise<void> {
    if (!this.#pending) {
      this.#sleeper = deferred();
      await this.#sleeper.promise;
      this.#sleeper = undefined;
    }
    this.#pending = false;
  }
}
