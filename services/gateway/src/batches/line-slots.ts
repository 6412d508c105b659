import { type Clock, type Deferred, deferred } from "@moiety/core";

export interface LineSlotsOptions {
  /** Lines that may run at once, of all batches of this gateway. */
  readonly count: number;
  /** Live requests that wait to be computed. */
  readonly liveWaiting: () => Promise<number>;
  readonly clock: Clock;
  /** How often to look again. Default 200. */
  readonly lookMs?: number;
}

/**
 * Who may run a line. Batches take turns, one line each; and none begins while a live request waits: a line that runs is computed beside
 * live requests, one that has not begun costs them nothing.
 */
export class LineSlots {
  readonly #options: LineSlotsOptions;
  readonly #lookMs: number;
  readonly #waiting: Deferred<void>[] = [];
  #free: number;
  #quietUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: LineSlotsOptions) {
    this.#options = options;
    this.#lookMs = options.lookMs ?? 200;
    this.#free = options.count;
  }

  /** Waits for a slot and for its moment. Gives what frees the slot. @throws the signal's reason. */
  async take(signal: AbortSignal): Promise<() => void> {
    await this.#takeSlot(signal);
    try {
      await this.#quiet(signal);
    } catch (error) {
      this.#release();
      throw error;
    }
    let held = true;
    return () => {
      if (held) this.#release();
      held = false;
    };
  }

  async #takeSlot(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const turn = deferred<void>();
    const onAbort = () => {
      const place = this.#waiting.indexOf(turn);
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      turn.reject(signal.reason);
    };
    this.#waiting.push(turn);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next) next.resolve();
    else this.#free += 1;
  }

  /** What was seen holds for a moment, so that many short lines do not ask for each. */
  async #quiet(signal: AbortSignal): Promise<void> {
    const { clock, liveWaiting } = this.#options;
    while (clock.monotonicMs() >= this.#quietUntilMs) {
      const live = await liveWaiting().catch(() => 1);
      signal.throwIfAborted();
      if (live === 0) this.#quietUntilMs = clock.monotonicMs() + this.#lookMs;
      else await clock.sleep(this.#lookMs, signal);
    }
  }
}
