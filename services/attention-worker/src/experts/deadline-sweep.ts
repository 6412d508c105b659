import type { Clock } from "@moiety/core";

/** Something with a deadline. */
export interface Expiring {
  /** By the monotonic clock. */
  dueMs: number;
  /** Called once for each `add`, up to a tick late, unless it is deleted before. */
  expire(): void;
}

/** Deadlines of many short calls, at the price of a set's entry each: one sleeper looks after them all, `tickMs` apart. */
export class DeadlineSweep {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #pending = new Set<Expiring>();
  #sweeping = false;

  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  add(entry: Expiring): void {
    this.#pending.add(entry);
    if (!this.#sweeping) void this.#sweep();
  }

  delete(entry: Expiring): void {
    this.#pending.delete(entry);
  }

  /** Goes on for a tick after the last entry: a call that follows soon finds it running. */
  async #sweep(): Promise<void> {
    this.#sweeping = true;
    do {
      await this.#clock.sleep(this.#tickMs);
      const nowMs = this.#clock.monotonicMs();
      for (const entry of [...this.#pending]) {
        if (entry.dueMs > nowMs) continue;
        this.#pending.delete(entry);
        entry.expire();
      }
    } while (this.#pending.size > 0);
    this.#sweeping = false;
  }
}
