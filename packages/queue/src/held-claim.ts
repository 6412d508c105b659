import { AppError, type Clock, deferred, invariant } from "@moiety/core";
import type { WriteAnswer } from "./append-batch.js";
import type { ClaimContent, ClaimStore } from "./claim-store.js";
import { LogTail } from "./log-tail.js";
import type { AppendOutcome, Claim, Finish, LoggedToken, RequestRecord, Resumption } from "./types.js";

/**
 * How a claim ended, for the queue's side:
 * complete: the log is closed, the job is done.
 * released: given back, the job waits for another consumer.
 * lost: another consumer has it; nothing of it may be touched.
 */
export type Settlement = "complete" | "released" | "lost";

export interface HeldClaimOptions {
  readonly store: ClaimStore;
  readonly clock: Clock;
  readonly fence: string;
  readonly claimedAtMs: number;
  readonly onError: (error: AppError) => void;
  /** Told of every token that begins (positive) or ceases (negative) to wait for Redis. */
  readonly onBacklog: (tokens: number) => void;
}

const RETRY_MS = 200;

/** Keeps what it appended in memory, so that a Redis that forgot the end of a log can be told again. */
export class HeldClaim implements Claim {
  readonly record: RequestRecord;
  readonly log: readonly LoggedToken[];
  readonly resumes?: Resumption;
  readonly claimedAtMs: number;
  readonly fence: string;
  readonly #options: HeldClaimOptions;
  readonly #abort = new AbortController();
  readonly #settled = deferred<Settlement>();
  readonly #tail: LogTail;
  /** Writes of other kinds than appends that are under way or wait for their turn. */
  #others = 0;
  #over: AppendOutcome | undefined;
  #writes: Promise<unknown> = Promise.resolve();
  /** Ends the one write of another kind that is waiting for Redis. */
  #interrupt: () => void = () => undefined;
  readonly #deadline: AbortController = new AbortController();

  constructor(content: ClaimContent, options: HeldClaimOptions) {
    this.record = content.record;
    this.log = content.log;
    if (content.resumes !== undefined) this.resumes = content.resumes;
    this.claimedAtMs = options.claimedAtMs;
    this.fence = options.fence;
    this.#options = options;
    const { store, clock, onError, onBacklog } = options;
    const onRefused = (answer: WriteAnswer) => this.#conclude(answer);
    const { fence, signal } = this;
    this.#tail = new LogTail(content, { store, clock, fence, signal, onError, onBacklog, onRefused });
    this.#watchDeadline();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Resolves when the consumer may let go of the job. */
  get settled(): Promise<Settlement> {
    return this.#settled.promise;
  }

  append(start: number, tokens: readonly LoggedToken[]): Promise<AppendOutcome> {
    if (this.#over) return Promise.resolve(this.#over);
    return this.#tail.append(start, tokens);
  }

  async putPromptLogprobs(entries: readonly LoggedToken[]): Promise<AppendOutcome> {
    if (this.#over) return this.#over;
    invariant(entries.length === this.record.promptTokens.length, "there is one entry for each prompt token");
    return this.#inOrder(async () => {
      const answer = await this.#persist(() => this.#options.store.putPromptLogprobs(this.record.id, this.fence, entries));
      return answer ? this.#conclude(answer) : this.#ending();
    });
  }

  async finish(finish: Finish): Promise<AppendOutcome> {
    if (this.#over) return this.#over;
    this.#over = "closed";
    const outcome = await this.#inOrder(() => this.#writeFinish(finish));
    this.#settle(outcome === "fenced" ? "lost" : "complete");
    return outcome;
  }

  async release(): Promise<void> {
    if (this.#over) return;
    this.#over = "fenced";
    await this.#inOrder(() => this.#persist(() => this.#options.store.letGo(this.record.id, this.fence)));
    this.#settle("released");
  }

  /** Somebody else closed the log. */
  endedElsewhere(): void {
    this.#stop("closed", "complete", new AppError("CANCELLED", "the request was cancelled or finished"));
  }

  /** Somebody else holds the request now. */
  lost(): void {
    this.#stop("fenced", "lost", new AppError("ABORTED", "the request was taken over"));
  }

  /** The consumer goes away without Redis: whoever waits is told, and the lock expires by itself. */
  abandon(): void {
    this.#stop("fenced", "lost", new AppError("UNAVAILABLE", "the consumer was closed"));
  }

  #stop(outcome: AppendOutcome, settlement: Settlement, reason: AppError): void {
    this.#over = outcome;
    this.#settle(settlement);
    this.#interrupt();
    this.#tail.stop(outcome);
    this.#abort.abort(reason);
  }

  #settle(settlement: Settlement): void {
    this.#deadline.abort("settled");
    this.#settled.resolve(settlement);
  }

  #ending(): AppendOutcome {
    return this.#over ?? "closed";
  }

  /** Runs after the appends that were asked for before, and before those that come after it. */
  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const { length } = this.#tail;
    if (this.#others === 0) this.#tail.limitTo(length);
    this.#others += 1;
    const result = this.#writes
      .then(() => {
        this.#tail.limitTo(length);
        return this.#tail.until(length);
      })
      .then(work)
      .finally(() => {
        this.#others -= 1;
        if (this.#others === 0) this.#tail.limitTo(Number.POSITIVE_INFINITY);
      });
    this.#writes = result.catch(() => undefined);
    return result;
  }

  /** Repeats until Redis answers; absent when the claim is dropped meanwhile. */
  async #persist<T>(work: () => Promise<T>): Promise<T | undefined> {
    const dropped = this.signal;
    while (!dropped.aborted) {
      try {
        return await this.#unlessDropped(work);
      } catch (error) {
        if (dropped.aborted) return undefined;
        this.#options.onError(AppError.from(error, "UNAVAILABLE"));
        await this.#options.clock.sleep(RETRY_MS, dropped).catch(() => undefined);
      }
    }
    return undefined;
  }

  #unlessDropped<T>(work: () => Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => resolve(undefined);
      work().then(resolve, reject);
    });
  }

  #conclude(answer: WriteAnswer): AppendOutcome {
    if (answer.kind === "fenced") {
      this.lost();
      return "fenced";
    }
    if (answer.kind === "closed") {
      this.endedElsewhere();
      return "closed";
    }
    return "appended";
  }

  async #writeFinish(finish: Finish): Promise<AppendOutcome> {
    for (;;) {
      const { length } = this.#tail;
      const flushed = await this.#tail.until(length);
      if (flushed !== "appended") return flushed;
      const answer = await this.#persist(() => this.#options.store.finish(this.record.id, this.fence, { finish, length }));
      if (!answer) return this.#ending();
      if (answer.kind !== "short") return this.#conclude(answer);
      this.#tail.wasCutTo(answer.length);
    }
  }

  #watchDeadline(): void {
    const { clock } = this.#options;
    const expire = async () => {
      // Timers hold at most 31 bits of milliseconds.
      for (let leftMs = 0; ; ) {
        leftMs = this.record.deadlineAtMs - clock.nowMs();
        if (leftMs <= 0) break;
        await clock.sleep(Math.min(leftMs, 2_000_000_000), this.#deadline.signal);
      }
      if (this.#over) return;
      const { record, claimedAtMs } = this;
      await this.finish(deadlineFinish(record, { claimedAtMs, outputTokens: this.#tail.length }));
      this.#abort.abort(new AppError("DEADLINE_EXCEEDED", "the request passed its deadline"));
    };
    expire().catch(() => undefined);
  }
}

/** The end of a request that ran out of time. */
function deadlineFinish(
  record: RequestRecord,
  { claimedAtMs, outputTokens }: { claimedAtMs: number; outputTokens: number },
): Finish {
  return {
    reason: "error",
    error: { code: "DEADLINE_EXCEEDED", message: "the request was not finished by its deadline" },
    promptTokens: record.promptTokens.length,
    cachedTokens: 0,
    outputTokens,
    queueMs: Math.max(0, claimedAtMs - record.createdAtMs),
    prefillMs: 0,
    decodeMs: 0,
  };
}
