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

interface Turn extends Deferred<void> {
  readonly slots: number;
}

/**
 * Who may run a line. Batches take turns, one line each; and none begins while a live request waits: a line that runs is computed beside
 * live requests, one that has not begun costs them nothing.
 */
export class LineSlots {
  readonly #options: LineSlotsOptions;
  readonly #lookMs: number;
  readonly #waiting: Turn[] = [];
  #free: number;
  #quietUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: LineSlotsOptions) {
    this.#options = options;
    this.#lookMs = options.lookMs ?? 200;
    this.#free = options.count;
  }

  /**
   * Waits for as many slots as a line asks for completions, or for all there are, and for its moment. Gives what frees them.
   * @throws the signal's reason.
   */
  async take(signal: AbortSignal, choices = 1): Promise<() => void> {
    const slots = Math.min(this.#options.count, Math.max(1, Math.ceil(choices)));
    await this.#takeSlots(signal, slots);
    let held = true;
    const release = () => {
      if (held) this.#release(slots);
      held = false;
    };
    try {
      await this.#quiet(signal);
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  async #takeSlots(signal: AbortSignal, slots: number): Promise<void> {
    signal.throwIfAborted();
    const turn: Turn = { ...deferred<void>(), slots };
    const onAbort = () => {
      const place = this.#waiting.indexOf(turn);
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      turn.reject(signal.reason);
      this.#serve();
    };
    this.#waiting.push(turn);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#serve();
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #release(slots: number): void {
    this.#free += slots;
    this.#serve();
  }

  /** First come, first served: a line that asks for many is not passed by those that ask for few. */
  #serve(): void {
    for (let [next] = this.#waiting; next !== undefined && next.slots <= this.#free; [next] = this.#waiting) {
      this.#waiting.shift();
      this.#free -= next.slots;
      next.resolve();
    }
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
