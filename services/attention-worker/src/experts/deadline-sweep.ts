import type { Clock } from "@moiety/core";

interface Pending {
  readonly dueMs: number;
  readonly expire: () => void;
}

/** Deadlines of many short calls, at the price of a set's entry each: one sleeper looks after them all, `tickMs` apart. */
export class DeadlineSweep {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #pending = new Set<Pending>();
  #sweeping = false;

  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  /** Calls `expire` once, up to a tick later than `afterMs` from now. Returns how to prevent it. */
  add(afterMs: number, expire: () => void): () => void {
    const entry = { dueMs: this.#clock.monotonicMs() + afterMs, expire };
    this.#pending.add(entry);
    if (!this.#sweeping) void this.#sweep();
    return () => this.#pending.delete(entry);
  }

  /** Runs for as long as anything is pending. */
  async #sweep(): Promise<void> {
    this.#sweeping = true;
    while (this.#pending.size > 0) {
      await this.#clock.sleep(this.#tickMs);
      const nowMs = this.#clock.monotonicMs();
      for (const entry of this.#pending) {
        if (entry.dueMs > nowMs) continue;
        this.#pending.delete(entry);
        entry.expire();
      }
    }
    this.#sweeping = false;
  }
}
