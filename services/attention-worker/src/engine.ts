import { AppError, type Clock, invariant } from "@moiety/core";
import type { Sample } from "@moiety/kernels";
import type { Claim } from "@moiety/queue";
import { type Logger, type Tracing, untraced } from "@moiety/runtime";
import { claimCapacity } from "./capacity.js";
import type { EngineObserver } from "./engine-observer.js";
import { whenAllAborted } from "./forward/abort.js";
import type { Forward, RowsOutcome } from "./forward/forward.js";
import type { ForwardRows } from "./forward/forward-rows.js";
import type { KvCache } from "./kv-cache/kv-cache.js";
import type { ActiveRequest } from "./requests/active-request.js";
import { Canary } from "./requests/canary.js";
import { type Decoding, isConstraintFault } from "./requests/constraint.js";
import { RequestTable } from "./requests/request-table.js";
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
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing;
  /** What outputs are held to grammars with. Absent: requests with a grammar are refused. */
  readonly decoding?: Decoding;
  /** Told how many claims the engine can hold, whenever that changes. */
  onCapacity(claims: number): void;
  /** The engine has stopped for good: its passes fail, whoever is in them. Claims are still held. */
  onBroken(error: AppError): void;
}

interface Suspect {
  readonly request: ActiveRequest;
  readonly error: AppError;
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
  readonly #requests: RequestTable;
  readonly #wake = new Wake();
  #capacity = -1;
  #accepting = true;
  #paused = false;
  #stopped = false;
  #running: Promise<void> | undefined;

  constructor(options: EngineOptions) {
    const { cache, forward, limits, vocabSize, clock, logger, observer, tracing = untraced, decoding } = options;
    this.#options = options;
    this.#scheduler = new Scheduler(cache, limits);
    this.#canary = new Canary(cache, forward);
    this.#requests = new RequestTable({
      scheduler: this.#scheduler,
      vocabSize,
      contextTokens: limits.contextTokens,
      pageTokens: cache.pageTokens,
      clock,
      logger,
      tracing,
      ...(decoding === undefined ? {} : { decoding }),
      onFinish: (finish) => observer.onFinish(finish),
      onChange: () => {
        this.#report();
        this.#wake.wake();
      },
      onProgress: () => this.#wake.wake(),
    });
  }

  /** Claims held, those included whose end is still being written. */
  get held(): number {
    return this.#requests.held;
  }

  get load() {
    const { running, waiting } = this.#scheduler.load;
    return { running, waiting, kvUsage: this.#kvUsage };
  }

  start(): void {
    invariant(this.#running === undefined, "the engine starts once");
    this.#report();
    this.#running = this.#run();
  }

  /** Takes a claim over. Never throws: a request that cannot be served is finished with its error. */
  add(claim: Claim): void {
    if (!this.#accepting) {
      this.#requests.release(claim);
      return;
    }
    if (claim.resumes !== undefined) this.#options.observer.onResume(claim.resumes);
    this.#requests.add(claim);
  }

  /** While paused it asks for no claims; those held go on. */
  pause(paused: boolean): void {
    this.#paused = paused;
    this.#report();
  }

  /** Takes no more claims, and resolves when those held are finished or `timeoutMs` is over. */
  async drain(timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#accepting = false;
    this.#report();
    const untilMs = clock.monotonicMs() + timeoutMs;
    while (this.held > 0 && !this.#stopped && clock.monotonicMs() < untilMs) await clock.sleep(20);
  }

  /** Ends the loop, abandoning the pass under way, and gives back what is held: others go on from the logs. */
  async stop(): Promise<void> {
    this.#accepting = false;
    this.#stopped = true;
    this.#requests.abandonAll();
    this.#wake.wake();
    await this.#running;
    await this.#requests.releaseAll();
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
    this.#requests.sweep();
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
    const isHeld = (sequence: Sequence) => this.#requests.of(sequence).writer.unacknowledged >= MAX_UNACKNOWLEDGED;
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
      return this.#requests.of(sequence).prepare(rows);
    });
  }

  async #process(outcomes: readonly RowsOutcome[]): Promise<void> {
    const suspects: Suspect[] = [];
    for (const outcome of outcomes) {
      const request = this.#requests.of(outcome.rows.sequence);
      if (request.isOver) continue;
      request.trace?.endStep(outcome.kind === "failed" ? outcome.error.code : undefined);
      if (outcome.kind === "computed") this.#take(request, outcome);
      else if (this.#countFailure(request, outcome.error) >= MAX_FAILURES) suspects.push({ request, error: outcome.error });
    }
    if (suspects.length > 0) await this.#judge(suspects);
    if (outcomes.some(({ kind }) => kind === "failed")) await this.#options.clock.sleep(RETRY_PAUSE_MS);
  }

  #take(request: ActiveRequest, { rows, samples }: Extract<RowsOutcome, { kind: "computed" }>): void {
    request.failures = 0;
    if (!areDrawn(samples)) {
      const unmet = samples.find((sample): sample is AppError => sample instanceof Error && isConstraintFault(sample));
      const error = unmet ?? new AppError("INTERNAL", "the model's logits were not finite");
      this.#requests.finish(request, "error", { error, trusted: unmet !== undefined });
      return;
    }
    const drawn = request.receive(rows, samples);
    this.#scheduler.advance(rows, drawn?.token);
    if (drawn === undefined) return;
    const { sequence } = request;
    if (sequence.tokens.length <= sequence.maxTokens) request.log(drawn);
    const { ending } = request;
    if (ending !== undefined) this.#requests.finish(request, ending);
  }

  #countFailure(request: ActiveRequest, error: AppError): number {
    request.failures += 1;
    this.#options.observer.onPassFailed();
    const { id } = request.sequence;
    this.#options.logger.warn(
      { generationId: id, failures: request.failures, code: error.code, reason: error.message },
      "pass failed",
    );
    return request.failures;
  }

  /** Passes with these requests keep failing. If one without them does too, it is us; otherwise it is them. */
  async #judge(suspects: readonly Suspect[]): Promise<void> {
    // As long as one of them waits for the verdict: a canary that is cut short says that all is well.
    const nobodyWaits = whenAllAborted(suspects.map(({ request }) => request.signal));
    const fault = await this.#canary.sing(nobodyWaits.signal);
    nobodyWaits.dispose();
    if (fault !== undefined) throw fault;
    for (const { request, error } of suspects) {
      if (!request.isOver) this.#requests.finish(request, "error", { error, trusted: false });
    }
  }

  /** Share of the pages in use by requests, the canary's left out. */
  get #kvUsage(): number {
    const { referenced, pages } = this.#options.cache.full;
    const own = this.#canary.pages.full.length;
    return (referenced - own) / (pages - own);
  }

  #report(): void {
    const { limits, observer, onCapacity } = this.#options;
    const kvUsage = this.#kvUsage;
    const load = this.#scheduler.load;
    observer.onGauges({ running: load.running, waiting: load.waiting, kvUsage });
    const open = this.#accepting && !this.#paused;
    const capacity = open ? claimCapacity({ load, ...limits, kvUsage, held: this.held }) : 0;
    if (capacity === this.#capacity) return;
    this.#capacity = capacity;
    onCapacity(capacity);
  }

  #break(error: AppError): void {
    this.#accepting = false;
    this.#stopped = true;
    this.#report();
    this.#options.logger.error({ err: error }, "engine stopped");
    this.#options.onBroken(error);
  }
}

function areDrawn(samples: readonly (Sample | Error)[]): samples is readonly Sample[] {
  return samples.every((sample) => !(sample instanceof Error));
}
