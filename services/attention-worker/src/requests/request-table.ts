import { AppError, type Clock, invariant } from "@moiety/core";
import type { Claim, Finish, FinishReason } from "@moiety/queue";
import type { Logger, Tracing } from "@moiety/runtime";
import type { Scheduler } from "../scheduler/scheduler.js";
import type { Sequence } from "../scheduler/sequence.js";
import { ActiveRequest } from "./active-request.js";
import type { Decoding } from "./constraint.js";
import { GenerationTrace } from "./generation-trace.js";

export interface RequestTableOptions {
  readonly scheduler: Scheduler;
  readonly vocabSize: number;
  readonly contextTokens: number;
  readonly pageTokens: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tracing: Tracing;
  /** Absent: requests with a grammar are refused. */
  readonly decoding?: Decoding;
  onFinish(finish: Finish): void;
  /** A request came or went. */
  onChange(): void;
  /** Redis has taken what a request wrote: if it was held back, it may go on. Called for every token. */
  onProgress(): void;
}

/** The claims that the engine holds: how they come in, and the ways in which they end. */
export class RequestTable {
  readonly #options: RequestTableOptions;
  readonly #requests = new Map<Sequence, ActiveRequest>();
  /** Over since the last step; their pages may be in use until the step is. */
  readonly #over = new Map<ActiveRequest, { readonly trusted: boolean }>();
  /** Ends being written, claims being given back. */
  readonly #settling = new Set<Promise<void>>();

  constructor(options: RequestTableOptions) {
    this.#options = options;
  }

  /** Claims held, those included whose end is still being written. */
  get held(): number {
    return this.#requests.size - this.#over.size + this.#settling.size;
  }

  of(sequence: Sequence): ActiveRequest {
    const request = this.#requests.get(sequence);
    invariant(request !== undefined, "every planned sequence belongs to a request");
    return request;
  }

  /** Takes a claim over. Never throws: a request that cannot be served is finished with its error. */
  add(claim: Claim): void {
    for (const request of this.#requests.values()) {
      // Whoever holds a request twice holds it under an older fence the first time.
      if (request.sequence.id === claim.record.id) this.#lose(request, "fenced");
    }
    try {
      this.#admit(claim);
    } catch (thrown) {
      this.#refuse(claim, AppError.from(thrown));
    }
    this.#options.onChange();
  }

  /** Gives a claim back: another worker goes on from its log. */
  release(claim: Claim): void {
    this.#settle(claim.release());
  }

  /** Writes a request's end; its pages go before the next step. `trusted` false: what it computed is never reused. */
  finish(
    request: ActiveRequest,
    reason: FinishReason,
    how: { readonly error?: AppError; readonly trusted?: boolean } = {},
  ): void {
    this.#drop(request, how.trusted ?? true);
    this.#writeEnd(request, reason, how.error);
  }

  /** Takes out of the scheduler what is over; never while a pass may be writing to its pages. */
  sweep(): void {
    for (const [request, { trusted }] of this.#over) {
      this.#options.scheduler.end(request.sequence, trusted);
      this.#requests.delete(request.sequence);
    }
    this.#over.clear();
  }

  /** Lets a pass under way end at once: nobody waits for it. */
  abandonAll(): void {
    for (const request of this.#requests.values()) request.stop();
  }

  /** Gives everything back that is not over, and resolves when every end is written. */
  async releaseAll(): Promise<void> {
    for (const request of this.#requests.values()) {
      if (this.#over.has(request)) continue;
      request.trace?.drop("ABORTED");
      this.release(request.claim);
    }
    for (const request of [...this.#requests.values()]) this.#drop(request, true);
    this.sweep();
    await Promise.allSettled(this.#settling);
  }

  #admit(claim: Claim): void {
    const { scheduler, vocabSize, contextTokens, pageTokens, clock, logger, tracing, decoding, onProgress } = this.#options;
    const onLost = (why: "fenced" | "closed" | AppError) => this.#lose(request, why);
    const request: ActiveRequest = new ActiveRequest({
      claim,
      vocabSize,
      contextTokens,
      pageTokens,
      clock,
      tracing,
      ...(decoding === undefined ? {} : { decoding }),
      onProgress,
      onLost,
    });
    const { ending } = request;
    if (ending !== undefined) {
      request.stop();
      this.#writeEnd(request, ending);
      return;
    }
    scheduler.add(request.sequence);
    this.#requests.set(request.sequence, request);
    const { id, promptTokens } = claim.record;
    const traceId = request.trace?.traceId;
    logger.info({ generationId: id, traceId, promptTokens: promptTokens.length, resumedAt: claim.log.length }, "request claimed");
    if (claim.signal.aborted) onLost("closed");
    else claim.signal.addEventListener("abort", () => onLost("closed"), { once: true });
  }

  #refuse(claim: Claim, error: AppError): void {
    const { createdAtMs, promptTokens, id } = claim.record;
    GenerationTrace.begin(this.#options.tracing, claim)?.drop(error.code);
    this.#options.logger.warn({ generationId: id, code: error.code, reason: error.message }, "request refused");
    const finish: Finish = {
      reason: "error",
      error: { code: error.code, message: error.message },
      promptTokens: promptTokens.length,
      cachedTokens: 0,
      outputTokens: claim.log.length,
      queueMs: Math.max(0, claim.claimedAtMs - createdAtMs),
      prefillMs: 0,
      decodeMs: 0,
    };
    this.#settle(claim.finish(finish));
  }

  #writeEnd(request: ActiveRequest, reason: FinishReason, error?: AppError): void {
    const finish = request.finish(reason, error);
    this.#options.onFinish(finish);
    this.#options.logger.info({ generationId: request.sequence.id, ...finish }, "request finished");
    this.#settle(request.writer.finish(finish));
  }

  /** The request is no longer ours: it is dropped, and nothing is written. */
  #lose(request: ActiveRequest, why: "fenced" | "closed" | AppError): void {
    if (request.isOver) return;
    this.#drop(request, true);
    request.trace?.drop(why instanceof AppError ? why.code : "ABORTED");
    const generationId = request.sequence.id;
    if (why instanceof AppError) {
      this.#options.logger.error({ generationId, code: why.code, reason: why.message }, "token log cannot be written");
      this.release(request.claim);
    } else this.#options.logger.info({ generationId, why }, "request dropped");
    this.#options.onChange();
  }

  #drop(request: ActiveRequest, trusted: boolean): void {
    request.stop();
    if (!this.#over.has(request)) this.#over.set(request, { trusted });
  }

  #settle(work: Promise<unknown>): void {
    const settled = work
      .then(
        () => undefined,
        (error: unknown) => this.#options.logger.error({ err: error }, "claim cannot be settled"),
      )
      .finally(() => {
        this.#settling.delete(settled);
        this.#options.onChange();
      });
    this.#settling.add(settled);
  }
}
