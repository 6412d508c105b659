import { AppError, type Clock, invariant } from "@moiety/core";
import type { Sample } from "@moiety/kernels";
import type { Claim, FinishReason } from "@moiety/queue";
import type { Logger } from "@moiety/runtime";
import { claimCapacity } from "./capacity.js";
import type { EngineObserver } from "./engine-observer.js";
import type { Forward, RowsOutcome } from "./forward/forward.js";
import type { ForwardRows } from "./forward/forward-rows.js";
import type { KvCache } from "./kv-cache/kv-cache.js";
import { ActiveRequest } from "./requests/active-request.js";
import { Canary } from "./requests/canary.js";
import { Scheduler, type SchedulerLimits } from "./scheduler/scheduler.js";
import type { Sequence } from "./scheduler/sequence.js";
import type { StepPlan } from "./scheduler/step-plan.js";
import { Wake } from "./wake.js";

export interface EngineOptions {
  readonly cache: KvCache;
  readonly forward: Forward;
  readonly limits: SchedulerLimits;
  readonly vocabSize: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: EngineObserver;
  /** Told how many claims the engine can hold, whenever that changes. */
  onCapacity(claims: number): void;
  /** The engine has stopped for good: its passes fail, whoever is in them. Claims are still held. */
  onBroken(error: AppError): void;
}

/** Writes of one request that Redis may owe us before the request pauses. */
const MAX_UNACKNOWLEDGED = 64;
/** Failed passes in a row before it is asked whose fault they are. */
const MAX_FAILURES = 3;
const RETRY_PAUSE_MS = 50;

/**
 * The loop of an attention worker: schedule, prepare, forward, process. One step at a time; tokens are logged behind its back.
 * What a request does wrong ends that request; what fails for everyone ends the engine, so that another worker goes on.
 */
export class Engine {
  readonly #options: EngineOptions;
  readonly #scheduler: Scheduler;
  readonly #canary: Canary;
  readonly #requests = new Map<Sequence, ActiveRequest>();
  /** Ended since the last step; their pages may be in use until the step is over. */
  readonly #ended = new Map<ActiveRequest, { readonly trusted: boolean }>();
  /** Ends being written. */
  readonly #closing = new Set<Promise<void>>();
  readonly #wake = new Wake();
  #capacity = -1;
  #accepting = true;
  #paused = false;
  #stopped = false;
  #running: Promise<void> | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#scheduler = new Scheduler(options.cache, options.limits);
    this.#canary = new Canary(options.cache, options.forward);
  }

  /** Claims held, those included whose end is still being written. */
  get held(): number {
    return this.#requests.size - this.#ended.size + this.#closing.size;
  }

  get load() {
    const { running, waiting } = this.#scheduler.load;
    return { running, waiting, kvUsage: this.#options.cache.usage };
  }

  start(): void {
    invariant(this.#running === undefined, "the engine starts once");
    this.#report();
    this.#running = this.#run();
  }

  /** Takes a claim over. Never throws: a request that cannot be served is finished with its error. */
  add(claim: Claim): void {
    if (!this.#accepting) {
      this.#track(claim.release());
      return;
    }
    for (const request of this.#requests.values()) {
      // Whoever holds a request twice holds it under an older fence the first time.
      if (request.sequence.id === claim.record.id) this.#lose(request, "fenced");
    }
    try {
      this.#admit(claim);
    } catch (thrown) {
      this.#refuse(claim, AppError.from(thrown));
    }
    this.#report();
    this.#wake.wake();
  }

  /** While paused it asks for no claims; those held go on. */
  pause(paused: boolean): void {
    this.#paused = paused;
    this.#report();
  }

  /** Takes no more claims, and resolves when those held are finished or `timeoutMs` is over. */
  async drain(timeoutMs: number): Promise<void> {
    this.#accepting = false;
    this.#report();
    const untilMs = this.#options.clock.monotonicMs() + timeoutMs;
    while (this.held > 0 && !this.#stopped && this.#options.clock.monotonicMs() < untilMs) await this.#options.clock.sleep(20);
  }

  /** Ends the loop after the pass under way and gives back what is held: others go on from the logs. */
  async stop(): Promise<void> {
    this.#accepting = false;
    this.#stopped = true;
    for (const request of this.#requests.values()) request.stop();
    this.#wake.wake();
    await this.#running;
    const releases = [...this.#requests.values()].map(({ claim }) => claim.release());
    this.#requests.clear();
    await Promise.allSettled([...releases, ...this.#closing]);
  }

  /** Asserts the scheduler's and the cache's invariants; between steps only. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity([this.#canary.pages]);
  }

  async #run(): Promise<void> {
    try {
      while (!this.#stopped) await this.#step();
    } catch (thrown) {
      this.#break(AppError.from(thrown));
    }
  }

  async #step(): Promise<void> {
    this.#sweep();
    const plan = this.#schedule();
    this.#report();
    if (plan.rows.length === 0) {
      if (plan.preempted.length === 0) await this.#wake.sleep();
      return;
    }
    const outcomes = await this.#options.forward.run(this.#prepare(plan));
    await this.#process(outcomes);
  }

  #schedule(): StepPlan {
    const isHeld = (sequence: Sequence) => this.#requestOf(sequence).writer.unacknowledged >= MAX_UNACKNOWLEDGED;
    const plan = this.#scheduler.schedule(isHeld);
    if (plan.rows.length === 0) return plan;
    const decodeTokens = plan.rows.filter(({ sequence }) => sequence.state.kind === "decoding").length;
    this.#options.observer.onStep({ tokens: plan.tokens, decodeTokens, preempted: plan.preempted.length });
    return plan;
  }

  #prepare(plan: StepPlan): ForwardRows[] {
    return plan.rows.map((rows) => {
      const { sequence } = rows;
      const { cachedTokens } = sequence.pages;
      if (rows.start === cachedTokens) this.#options.observer.onPrefixLookup(sequence.tokens.length, cachedTokens);
      return this.#requestOf(sequence).prepare(rows);
    });
  }

  async #process(outcomes: readonly RowsOutcome[]): Promise<void> {
    const suspects: { readonly request: ActiveRequest; readonly error: AppError }[] = [];
    for (const outcome of outcomes) {
      const request = this.#requestOf(outcome.rows.sequence);
      if (request.isOver) continue;
      if (outcome.kind === "computed") this.#take(request, outcome);
      else if (this.#countFailure(request, outcome.error) >= MAX_FAILURES) suspects.push({ request, error: outcome.error });
    }
    if (suspects.length > 0) await this.#judge(suspects);
    if (outcomes.some(({ kind }) => kind === "failed")) await this.#options.clock.sleep(RETRY_PAUSE_MS);
  }

  #take(request: ActiveRequest, { rows, samples }: Extract<RowsOutcome, { kind: "computed" }>): void {
    request.failures = 0;
    const good = samples.filter((sample): sample is Sample => !(sample instanceof Error));
    if (good.length < samples.length) {
      const error = new AppError("INTERNAL", "the model's logits were not finite");
      this.#finish(request, "error", { error, trusted: false });
      return;
    }
    const drawn = request.receive(rows, good);
    this.#scheduler.advance(rows, drawn?.token);
    if (drawn === undefined) return;
    const { sequence } = request;
    if (sequence.tokens.length <= sequence.maxTokens) request.log(drawn);
    const ending = request.ending;
    if (ending !== undefined) this.#finish(request, ending);
  }

  #countFailure(request: ActiveRequest, error: AppError): number {
    request.failures += 1;
    this.#options.observer.onPassFailed();
    const { id } = request.sequence;
    this.#options.logger.warn(
      { requestId: id, failures: request.failures, code: error.code, reason: error.message },
      "pass failed",
    );
    return request.failures;
  }

  /** Passes with these requests keep failing. If one without them does too, it is us; otherwise it is them. */
  async #judge(suspects: readonly { readonly request: ActiveRequest; readonly error: AppError }[]): Promise<void> {
    const fault = await this.#canary.sing(AbortSignal.any(suspects.map(({ request }) => request.signal)));
    if (fault !== undefined) throw fault;
    for (const { request, error } of suspects) {
      if (!request.isOver) this.#finish(request, "error", { error, trusted: false });
    }
  }

  #admit(claim: Claim): void {
    const { vocabSize, limits, cache, clock } = this.#options;
    const request = new ActiveRequest({
      claim,
      vocabSize,
      contextTokens: limits.contextTokens,
      pageTokens: cache.pageTokens,
      clock,
      onProgress: () => this.#wake.wake(),
      onLost: (why) => this.#lose(request, why),
    });
    if (request.ending !== undefined) {
      request.stop();
      this.#close(request, request.ending);
      return;
    }
    this.#scheduler.add(request.sequence);
    this.#requests.set(request.sequence, request);
    const abandon = () => this.#lose(request, "closed");
    if (claim.signal.aborted) abandon();
    else claim.signal.addEventListener("abort", abandon, { once: true });
    this.#options.logger.info(
      { requestId: claim.record.id, promptTokens: claim.record.promptTokens.length, resumedAt: claim.log.length },
      "request claimed",
    );
  }

  #refuse(claim: Claim, error: AppError): void {
    this.#options.logger.warn({ requestId: claim.record.id, code: error.code, reason: error.message }, "request refused");
    const { createdAtMs, promptTokens } = claim.record;
    const finished = claim.finish({
      reason: "error",
      error: { code: error.code, message: error.message },
      promptTokens: promptTokens.length,
      cachedTokens: 0,
      outputTokens: claim.log.length,
      queueMs: Math.max(0, claim.claimedAtMs - createdAtMs),
      prefillMs: 0,
      decodeMs: 0,
    });
    this.#track(finished);
  }

  /** Writes a request's end and drops its sequence before the next step. */
  #finish(
    request: ActiveRequest,
    reason: FinishReason,
    how: { readonly error?: AppError; readonly trusted?: boolean } = {},
  ): void {
    this.#drop(request, how.trusted ?? true);
    this.#close(request, reason, how.error);
  }

  #close(request: ActiveRequest, reason: FinishReason, error?: AppError): void {
    const finish = request.finish(reason, error);
    this.#options.observer.onFinish(finish);
    this.#options.logger.info({ requestId: request.sequence.id, ...finish }, "request finished");
    this.#track(request.writer.finish(finish));
  }

  /** The request is no longer ours: it is dropped, and nothing is written. */
  #lose(request: ActiveRequest, why: "fenced" | "closed" | AppError): void {
    if (request.isOver) return;
    this.#drop(request, true);
    const requestId = request.sequence.id;
    if (why instanceof AppError) {
      this.#options.logger.error({ requestId, code: why.code, reason: why.message }, "token log cannot be written");
      this.#track(request.claim.release());
    } else this.#options.logger.info({ requestId, why }, "request dropped");
    this.#wake.wake();
  }

  #drop(request: ActiveRequest, trusted: boolean): void {
    request.stop();
    this.#ended.set(request, { trusted });
  }

  /** Gives back the pages of what ended; never while a pass may be writing to them. */
  #sweep(): void {
    for (const [request, { trusted }] of this.#ended) {
      this.#scheduler.end(request.sequence, trusted);
      this.#requests.delete(request.sequence);
    }
    this.#ended.clear();
  }

  #track(work: Promise<unknown>): void {
    const tracked = work
      .then(
        () => undefined,
        (error: unknown) => this.#options.logger.error({ err: error }, "claim cannot be settled"),
      )
      .finally(() => {
        this.#closing.delete(tracked);
        this.#report();
      });
    this.#closing.add(tracked);
  }

  #report(): void {
    const { limits, cache, observer, onCapacity } = this.#options;
    const load = this.#scheduler.load;
    observer.onGauges({ running: load.running, waiting: load.waiting, kvUsage: cache.usage });
    const capacity =
      this.#accepting && !this.#paused ? claimCapacity({ load, ...limits, kvUsage: cache.usage, held: this.held }) : 0;
    if (capacity === this.#capacity) return;
    this.#capacity = capacity;
    onCapacity(capacity);
  }

  #break(error: AppError): void {
    this.#accepting = false;
    this.#stopped = true;
    this.#report();
    this.#options.logger.fatal({ err: error }, "engine stopped");
    this.#options.onBroken(error);
  }

  #requestOf(sequence: Sequence): ActiveRequest {
    const request = this.#requests.get(sequence);
    invariant(request !== undefined, "every planned sequence belongs to a request");
    return request;
  }
}
