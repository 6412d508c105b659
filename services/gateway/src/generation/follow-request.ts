import { AppError, type Clock } from "@moiety/core";
import type { LogEvent, RequestProducer, RequestRecord } from "@moiety/queue";

/** A Redis that forgets a request so often has something worse. */
const MAX_RESUBMISSIONS = 3;

export interface FollowRequestOptions {
  readonly producer: Pick<RequestProducer, "follow" | "resubmit">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * The whole log of a request that was submitted. A Redis that lost its tail may have forgotten the request: it is then submitted again, and
 * its log read on from where the reader is, for the same record always gives the same tokens. @throws AppError NOT_FOUND past the deadline.
 *
 * Not a generator: those would have each token wait for several promises more.
 */
export class RequestFollower implements AsyncIterableIterator<LogEvent> {
  readonly #record: RequestRecord;
  readonly #options: FollowRequestOptions;
  #log: AsyncIterator<LogEvent>;
  #next = 0;
  #resubmissions = 0;

  constructor(record: RequestRecord, options: FollowRequestOptions) {
    this.#record = record;
    this.#options = options;
    this.#log = this.#follow();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<LogEvent>> {
    return this.#log.next().then(
      (step) => {
        if (!step.done && step.value.kind === "tokens") this.#next = step.value.start + step.value.tokens.length;
        return step;
      },
      (error: unknown) => this.#recover(error),
    );
  }

  async return(): Promise<IteratorResult<LogEvent>> {
    await this.#log.return?.();
    return { done: true, value: undefined };
  }

  async #recover(error: unknown): Promise<IteratorResult<LogEvent>> {
    const { producer, clock } = this.#options;
    const isForgotten = AppError.from(error).code === "NOT_FOUND" && clock.nowMs() < this.#record.deadlineAtMs;
    if (!isForgotten || this.#resubmissions >= MAX_RESUBMISSIONS) throw error;
    this.#resubmissions += 1;
    await producer.resubmit(this.#record);
    this.#log = this.#follow();
    return this.next();
  }

  #follow(): AsyncIterator<LogEvent> {
    const { producer, signal } = this.#options;
    return producer.follow(this.#record.id, this.#next, signal)[Symbol.asyncIterator]();
  }
}
