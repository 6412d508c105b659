import { AppError, type Deferred, deferred, type WorkerId } from "@moiety/core";
import type { ExpertRowsPart } from "@moiety/kernels";
import type { TraceSpan } from "@moiety/runtime";
import type { Abortable } from "./abort-watch.js";
import type { HopTimings, LayerResult } from "./expert-pool.js";

const NO_TIME: HopTimings = { encodeUs: 0, networkUs: 0, queueUs: 0, computeUs: 0 };

/** A part of a run that is under way: a call, or a wait. */
export interface RunPart {
  /** The run is over: lets go of everything. */
  abandon(): void;
}

/** One `run`, from its first message to its last answer: what it has gathered, and whether it still goes on. */
export class LayerRun implements Abortable {
  readonly layer: number;
  readonly trace: TraceSpan | undefined;
  readonly #result: Deferred<LayerResult> = deferred();
  readonly #underWay = new Set<RunPart>();
  readonly #parts: ExpertRowsPart[] = [];
  readonly #workers: WorkerId[] = [];
  #over = false;
  #slowest: HopTimings = NO_TIME;
  #stopped: Deferred<void> | undefined;

  constructor(layer: number, trace?: TraceSpan) {
    this.layer = layer;
    this.trace = trace;
  }

  /** Resolves when every part has ended; rejects when the run is ended early. */
  get result(): Promise<LayerResult> {
    return this.#result.promise;
  }

  /** Nothing is to be done for it any more. */
  get over(): boolean {
    return this.#over;
  }

  /** Resolves when the run is over early; never rejects. */
  get stopped(): Promise<void> {
    this.#stopped ??= deferred();
    if (this.#over) this.#stopped.resolve();
    return this.#stopped.promise;
  }

  called(workerId: WorkerId): void {
    if (!this.#workers.includes(workerId)) this.#workers.push(workerId);
  }

  /** A part begins; the run goes on until it has ended. */
  begin(part: RunPart): void {
    this.#underWay.add(part);
  }

  /** A part has ended. What follows from it has to begin before. */
  end(part: RunPart): void {
    if (!this.#underWay.delete(part) || this.#over || this.#underWay.size > 0) return;
    this.#over = true;
    this.#result.resolve({ parts: this.#parts, timings: this.#slowest, fanOut: this.#workers.length });
  }

  add(part: ExpertRowsPart, timings: HopTimings): void {
    this.#parts.push(part);
    if (total(timings) > total(this.#slowest)) this.#slowest = timings;
  }

  abort(reason: unknown): void {
    this.fail(new AppError("CANCELLED", "the layer's call was cancelled", { cause: reason }));
  }

  /** Ends the run early; the first error stands. */
  fail(error: AppError): void {
    if (this.#over) return;
    this.#over = true;
    for (const part of [...this.#underWay]) part.abandon();
    this.#underWay.clear();
    this.#stopped?.resolve();
    this.#result.reject(error);
  }
}

function total(timings: HopTimings): number {
  return timings.networkUs + timings.queueUs + timings.computeUs;
}
