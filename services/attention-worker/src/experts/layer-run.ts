import { AppError, deferred, type WorkerId } from "@moiety/core";
import type { ExpertRowsPart } from "@moiety/kernels";
import type { HopTimings, LayerResult } from "./expert-pool.js";

const NO_TIME: HopTimings = { encodeUs: 0, networkUs: 0, queueUs: 0, computeUs: 0 };

/** One `run`, from its first message to its last answer: what it has gathered, and whether it still goes on. */
export class LayerRun {
  readonly layer: number;
  readonly #signal: AbortSignal;
  #over = false;
  readonly #stopped = deferred<void>();
  readonly #parts: ExpertRowsPart[] = [];
  readonly #workers = new Set<WorkerId>();
  #slowest: HopTimings = NO_TIME;
  #error: AppError | undefined;
  readonly #onAbort = () =>
    this.fail(new AppError("CANCELLED", "the layer's call was cancelled", { cause: this.#signal.reason }));

  constructor(layer: number, signal: AbortSignal) {
    this.layer = layer;
    this.#signal = signal;
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Ended early, by an error or the caller. */
  get over(): boolean {
    return this.#over;
  }

  /** Resolves when the run is over early; never rejects. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  called(workerId: WorkerId): void {
    this.#workers.add(workerId);
  }

  add(part: ExpertRowsPart, timings: HopTimings): void {
    this.#parts.push(part);
    if (total(timings) > total(this.#slowest)) this.#slowest = timings;
  }

  /** Ends the run early; the first error stands. */
  fail(error: AppError): void {
    if (this.over) return;
    this.#error = error;
    this.#over = true;
    this.#stopped.resolve();
  }

  /** @throws the error that ended the run early. */
  finish(): LayerResult {
    this.#signal.removeEventListener("abort", this.#onAbort);
    if (this.#error !== undefined) throw this.#error;
    return { parts: this.#parts, timings: this.#slowest, fanOut: this.#workers.size };
  }
}

function total(timings: HopTimings): number {
  return timings.networkUs + timings.queueUs + timings.computeUs;
}
