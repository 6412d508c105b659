import type { TraceSpan } from "@moiety/runtime";
import type { DeadlineSweep, Expiring } from "./deadline-sweep.js";
import type { PlannedDispatch } from "./dispatch-plan.js";
import type { ExpertPoolObserver } from "./expert-pool-observer.js";
import type { LayerRun, RunPart } from "./layer-run.js";
import type { Link } from "./link.js";
import { type CallOutcome, fatalError, type LinkCall, type OutstandingCall } from "./outstanding-calls.js";

/** Why a delivery did not bring rows, though a repetition may. */
export type Failure = Exclude<CallOutcome, { kind: "rows" }> | { readonly kind: "late" };

export interface DeliveryContext {
  readonly deadlines: DeadlineSweep;
  readonly observer: ExpertPoolObserver;
  readonly monotonicMs: () => number;
  /** After it the call is given up even when no other worker has its experts. */
  readonly maxDeadlineMs: number;
  /** Whether another live worker has one of the experts. */
  hasAlternative(layer: number, dispatch: PlannedDispatch<Link>): boolean;
  /** Sees to the repetition of what failed; the delivery ends when it returns. */
  repeat(delivery: Delivery, failure: Failure): Promise<void>;
}

export interface DeliverySpec {
  readonly run: LayerRun;
  readonly link: Link;
  readonly dispatch: PlannedDispatch<Link>;
  readonly source: Uint8Array;
  readonly epoch: number;
  /** Repetitions that came before. */
  readonly attempt: number;
  readonly deadlineMs: number;
  readonly planUs: number;
}

/** One call to one worker, until its rows are there, its deadline has passed, or its run is over. */
export class Delivery implements LinkCall, RunPart, Expiring {
  readonly spec: DeliverySpec;
  readonly layer: number;
  readonly epoch: number;
  readonly dispatch: PlannedDispatch<Link>;
  readonly source: Uint8Array;
  traceContext: Uint8Array | undefined;
  dueMs: number;
  readonly #context: DeliveryContext;
  #sent: OutstandingCall | undefined;
  #trace: TraceSpan | undefined;
  #waitedMs = 0;
  #settled = false;

  constructor(context: DeliveryContext, spec: DeliverySpec) {
    this.#context = context;
    this.spec = spec;
    this.layer = spec.run.layer;
    this.epoch = spec.epoch;
    this.dispatch = spec.dispatch;
    this.source = spec.source;
    this.dueMs = context.monotonicMs() + spec.deadlineMs;
  }

  start(): void {
    const { run, link } = this.spec;
    run.begin(this);
    run.called(link.workerId);
    if (run.trace !== undefined) this.#beginTrace(run.trace);
    this.#context.deadlines.add(this);
    this.#sent = link.send(this);
  }

  settle(outcome: CallOutcome): void {
    if (this.#settled) return;
    this.#finish();
    if (outcome.kind === "rows") this.#succeeded(outcome);
    else this.#failed(outcome);
  }

  #succeeded(outcome: Extract<CallOutcome, { kind: "rows" }>): void {
    const { run, link, dispatch, attempt, planUs } = this.spec;
    const { rows, encodeUs, networkUs, queueUs, computeUs } = outcome;
    const timings = { encodeUs: planUs + encodeUs, networkUs, queueUs, computeUs };
    run.add({ rows, slots: dispatch.slots }, timings);
    this.#trace?.set({
      "moiety.encode_us": timings.encodeUs,
      "moiety.network_us": networkUs,
      "moiety.queue_us": queueUs,
      "moiety.compute_us": computeUs,
    });
    this.#trace?.end();
    const counts = { rows: dispatch.rows.length, pairs: dispatch.slots.length, attempt };
    this.#context.observer.answered({ workerId: link.workerId, layer: this.layer, ...counts, timings });
    run.end(this);
  }

  expire(): void {
    const { link, dispatch, deadlineMs } = this.spec;
    const { deadlines, observer, maxDeadlineMs, monotonicMs, hasAlternative } = this.#context;
    this.#waitedMs += deadlineMs;
    const abandoned = this.#waitedMs >= maxDeadlineMs || hasAlternative(this.layer, dispatch);
    observer.timedOut({ workerId: link.workerId, layer: this.layer, waitedMs: this.#waitedMs, abandoned });
    if (!abandoned) {
      this.dueMs = monotonicMs() + deadlineMs;
      deadlines.add(this);
      return;
    }
    this.#letGo();
    this.#failed({ kind: "late" });
  }

  abandon(): void {
    if (this.#settled) return;
    this.#letGo();
    this.#failTrace("CANCELLED");
  }

  #letGo(): void {
    this.#finish();
    if (this.#sent !== undefined) this.spec.link.abandon(this.#sent);
  }

  #finish(): void {
    this.#settled = true;
    this.#context.deadlines.delete(this);
  }

  #failed(failure: Failure): void {
    const { run, link, attempt } = this.spec;
    this.#failTrace(failure.kind === "refused" ? failure.code : failure.kind === "lost" ? "LINK_LOST" : "DEADLINE_EXCEEDED");
    const fatal = failure.kind === "refused" ? fatalError(failure, attempt) : undefined;
    if (fatal !== undefined) {
      run.fail(fatal);
      return;
    }
    this.#context.observer.repeated({ workerId: link.workerId, layer: this.layer, ...describe(failure) });
    void this.#context.repeat(this, failure).then(() => run.end(this));
  }

  #beginTrace(step: TraceSpan): void {
    const { dispatch, link, attempt } = this.spec;
    this.#trace = step.child("expert call", {
      kind: "client",
      attributes: {
        "moiety.layer": this.layer,
        "moiety.worker": link.workerId,
        "moiety.rows": dispatch.rows.length,
        "moiety.pairs": dispatch.slots.length,
        "moiety.attempt": attempt,
      },
    });
    this.traceContext = this.#trace.pack();
  }

  #failTrace(reason: string): void {
    this.#trace?.fail(reason);
    this.#trace?.end();
  }
}

function describe(failure: Failure) {
  if (failure.kind === "refused") return { reason: failure.code, message: failure.message };
  if (failure.kind === "lost") return { reason: "LINK_LOST" as const, message: failure.reason };
  return { reason: "DEADLINE_EXCEEDED" as const, message: "no answer within the deadline" };
}
