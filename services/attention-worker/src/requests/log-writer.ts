import { AppError } from "@moiety/core";
import type { AppendOutcome, Claim, Finish, LoggedToken } from "@moiety/queue";

export interface LogWriterEvents {
  /** Something was acknowledged. */
  onProgress(): void;
  /** The request is no longer ours, or its log cannot be written: drop the sequence. */
  onLost(why: Exclude<AppendOutcome, "appended"> | AppError): void;
}

/** Writes one request's tokens behind the engine's back, in order, and counts what has not been acknowledged. */
export class LogWriter {
  readonly #claim: Claim;
  readonly #events: LogWriterEvents;
  #unacknowledged = 0;
  // Once for each request, not for each of its tokens.
  readonly #onOutcome = (outcome: AppendOutcome) => {
    this.#unacknowledged -= 1;
    if (outcome === "appended") this.#events.onProgress();
    else this.#events.onLost(outcome);
  };
  readonly #onFault = (thrown: unknown) => {
    this.#unacknowledged -= 1;
    this.#events.onLost(AppError.from(thrown));
  };

  constructor(claim: Claim, events: LogWriterEvents) {
    this.#claim = claim;
    this.#events = events;
  }

  /** Writes that Redis has not yet confirmed. */
  get unacknowledged(): number {
    return this.#unacknowledged;
  }

  append(index: number, token: LoggedToken): void {
    this.#watch(this.#claim.append(index, [token]));
  }

  putPromptLogprobs(entries: readonly LoggedToken[]): void {
    this.#watch(this.#claim.putPromptLogprobs(entries));
  }

  /** Resolves when the end is written, behind all tokens. */
  finish(finish: Finish): Promise<AppendOutcome> {
    return this.#claim.finish(finish);
  }

  #watch(write: Promise<AppendOutcome>): void {
    this.#unacknowledged += 1;
    write.then(this.#onOutcome, this.#onFault);
  }
}
