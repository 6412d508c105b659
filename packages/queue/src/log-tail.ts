import { type AppError, type Clock, invariant, type RequestId } from "@moiety/core";
import { APPEND_LIMIT, type WriteAnswer } from "./append-batch.js";
import type { ClaimContent, ClaimStore } from "./claim-store.js";
import type { AppendOutcome, LoggedToken } from "./types.js";

export interface LogTailOptions {
  readonly store: ClaimStore;
  readonly clock: Clock;
  readonly fence: string;
  /** Aborts when the claim is over. */
  readonly signal: AbortSignal;
  readonly onError: (error: AppError) => void;
  /** Told of every token that begins (positive) or ceases (negative) to wait for Redis. */
  readonly onBacklog: (tokens: number) => void;
  /** The log is another holder's now, or closed: stops the tail. */
  readonly onRefused: (answer: WriteAnswer) => void;
}

/** Somebody who waits until the log is so long. */
interface Waiter {
  readonly end: number;
  /** Of its tokens, those that only memory held when it began to wait. */
  readonly fresh: number;
  resolve(outcome: AppendOutcome): void;
}

const RETRY_MS = 200;

/**
 * The tokens of one claim on their way to its log, one append at a time. Keeps them all, so that a Redis that forgot the end of a log can be
 * told again.
 */
export class LogTail {
  readonly #options: LogTailOptions;
  readonly #id: RequestId;
  readonly #tokens: LoggedToken[];
  /** Length of the log when Redis last said so. */
  #written: number;
  /** In the order in which they came. */
  readonly #waiters: Waiter[] = [];
  /** Whether an append is on its way to Redis. */
  #sending = false;
  #limit = Number.POSITIVE_INFINITY;
  #stopped: AppendOutcome | undefined;

  constructor({ record, log }: ClaimContent, options: LogTailOptions) {
    this.#options = options;
    this.#id = record.id;
    this.#tokens = [...log];
    this.#written = log.length;
  }

  /** With the tokens that Redis does not have yet. */
  get length(): number {
    return this.#tokens.length;
  }

  /** Resolves when Redis has them. What the log has already is skipped. */
  append(start: number, tokens: readonly LoggedToken[]): Promise<AppendOutcome> {
    const known = this.#tokens.length;
    invariant(start <= known, "tokens are appended without a gap");
    for (let index = known - start; index < tokens.length; index++) this.#tokens.push(tokens[index] as LoggedToken);
    return this.#until(start + tokens.length, this.#tokens.length - known);
  }

  /** Resolves when the log in Redis is so long. */
  until(length: number): Promise<AppendOutcome> {
    return this.#until(length, 0);
  }

  /** Appends go no further until this is called again. */
  limitTo(length: number): void {
    this.#limit = length;
    this.#send();
  }

  /** Redis has forgotten the end of the log. */
  wasCutTo(length: number): void {
    this.#written = length;
  }

  /** Sends nothing more, and tells all who wait. */
  stop(outcome: AppendOutcome): void {
    this.#stopped = outcome;
    this.#release(this.#tokens.length, outcome);
  }

  #until(end: number, fresh: number): Promise<AppendOutcome> {
    if (end <= this.#written) return Promise.resolve("appended");
    if (this.#stopped !== undefined) return Promise.resolve(this.#stopped);
    return new Promise((resolve) => {
      this.#options.onBacklog(fresh);
      this.#waiters.push({ end, fresh, resolve });
      this.#send();
    });
  }

  /** Sends what Redis does not have, one append at a time. */
  #send(): void {
    const start = this.#written;
    const end = Math.min(this.#tokens.length, this.#limit, start + APPEND_LIMIT);
    if (this.#sending || start >= end || this.#stopped !== undefined) return;
    this.#sending = true;
    const tokens = this.#tokens.slice(start, end);
    const { store, fence } = this.#options;
    store.append({
      id: this.#id,
      fence,
      start,
      tokens,
      onAnswer: (answer) => this.#onAppended(answer),
      onError: (error) => this.#onFailed(error),
    });
  }

  #onAppended(answer: WriteAnswer): void {
    this.#sending = false;
    if (this.#stopped !== undefined) return;
    if (answer.kind === "fenced" || answer.kind === "closed") {
      this.#options.onRefused(answer);
      return;
    }
    this.#written = answer.length;
    this.#release(answer.length, "appended");
    this.#send();
  }

  #onFailed(error: AppError): void {
    if (this.#stopped !== undefined) return;
    const { onError, clock, signal } = this.#options;
    onError(error);
    clock.sleep(RETRY_MS, signal).then(
      () => {
        this.#sending = false;
        this.#send();
      },
      () => undefined,
    );
  }

  /** Tells those who wait for a log of up to `length` tokens. */
  #release(length: number, outcome: AppendOutcome): void {
    for (let first = this.#waiters[0]; first !== undefined && first.end <= length; first = this.#waiters[0]) {
      this.#waiters.shift();
      this.#options.onBacklog(-first.fresh);
      first.resolve(outcome);
    }
  }
}
