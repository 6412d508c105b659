import { AppError, type Clock } from "@moiety/core";
import type { LineSignals } from "./run-line.js";

export interface LineHaltOptions {
  /** Aborts when the batch was changed by somebody: it was cancelled. */
  readonly cancelOn: AbortSignal;
  /** Aborts when this gateway lets go of the batch. */
  readonly leaveOn: AbortSignal;
  readonly expiresAtMs: number;
  readonly clock: Clock;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * How lines end before they have results. Those that nobody wants any more are cancelled; those that another gateway, or this one later,
 * goes on with are left to run. Whatever comes first holds.
 */
export class LineHalt {
  readonly #stop = new AbortController();
  readonly #leave = new AbortController();
  readonly #over = new AbortController();
  /** Aborts in either case. */
  readonly signal = AbortSignal.any([this.#stop.signal, this.#leave.signal]);

  constructor({ cancelOn, leaveOn, expiresAtMs, clock }: LineHaltOptions) {
    const once = { once: true, signal: this.#over.signal };
    leaveOn.addEventListener("abort", () => this.leave(leaveOn.reason), once);
    cancelOn.addEventListener("abort", () => this.#cancel(cancelOn.reason), once);
    if (leaveOn.aborted) this.leave(leaveOn.reason);
    if (cancelOn.aborted) this.#cancel(cancelOn.reason);
    this.#expire(expiresAtMs, clock).catch(() => undefined);
  }

  get signals(): LineSignals {
    return { stop: this.#stop.signal, leave: this.#leave.signal, over: this.signal };
  }

  /** Something went wrong: the lines are wanted, but not from here and now. */
  leave(reason: unknown): void {
    if (!this.signal.aborted) this.#leave.abort(reason);
  }

  /** Nothing runs any more. */
  end(): void {
    this.#over.abort();
  }

  #cancel(reason: unknown): void {
    if (!this.signal.aborted) this.#stop.abort(reason);
  }

  async #expire(expiresAtMs: number, clock: Clock): Promise<void> {
    for (let leftMs = expiresAtMs - clock.nowMs(); leftMs > 0; leftMs = expiresAtMs - clock.nowMs()) {
      await clock.sleep(Math.min(leftMs, LONGEST_TIMER_MS), this.#over.signal);
    }
    this.#cancel(new AppError("DEADLINE_EXCEEDED", "the batch's completion window is over"));
  }
}
