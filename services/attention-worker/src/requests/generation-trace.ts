import type { Claim, Finish } from "@moiety/queue";
import type { TraceSpan, Tracing } from "@moiety/runtime";
import type { PlannedRows } from "../scheduler/step-plan.js";

/** Steps of one generation that have spans of their own, with every call of every layer below them. */
const MAX_PREFILL_STEPS = 8;
const MAX_DECODE_STEPS = 8;
/** Of the steps that decode, the first and then each so many-th is traced. */
const DECODE_STEP_INTERVAL = 32;

/** What one worker does for one sampled request: it waits, its prompt is computed, its tokens are. */
export class GenerationTrace {
  readonly #generation: TraceSpan;
  #phase: TraceSpan;
  #phaseName: "queue" | "prefill" | "decode" = "queue";
  #step: TraceSpan | undefined;
  #prefillSteps = 0;
  #decodeSteps = 0;

  private constructor(generation: TraceSpan, claim: Claim) {
    this.#generation = generation;
    const startMs = claim.log.length === 0 ? claim.record.createdAtMs : claim.claimedAtMs;
    this.#phase = generation.child("queue", { startMs });
  }

  /** Absent: the request is not sampled, or this process traces nothing. */
  static begin(tracing: Tracing, claim: Claim): GenerationTrace | undefined {
    const { record, log } = claim;
    if (record.traceparent === undefined) return undefined;
    const attributes = {
      "moiety.generation_id": record.id,
      "moiety.resumed_at": log.length,
      "gen_ai.usage.input_tokens": record.promptTokens.length,
    };
    const span = tracing.resume(record.traceparent, "generate", { kind: "consumer", attributes });
    return span && new GenerationTrace(span, claim);
  }

  get traceId(): string {
    return this.#generation.traceId;
  }

  /** The span of a step that is about to be computed; absent for one that is not traced. */
  beginStep({ sequence, start, count }: PlannedRows): TraceSpan | undefined {
    if (this.#phaseName === "queue") {
      this.#enter("prefill");
      this.#phase.set({ "moiety.cached_tokens": sequence.pages.cachedTokens });
    }
    const decodes = sequence.state.kind === "decoding";
    if (!(decodes ? this.#isDecodeStepTraced() : this.#prefillSteps++ < MAX_PREFILL_STEPS)) return undefined;
    const attributes = { "moiety.position": start, "moiety.rows": count };
    this.#step = this.#phase.child(decodes ? "decode step" : "prefill step", { attributes });
    return this.#step;
  }

  /** `failure`: the code of the error for which the step is repeated. */
  endStep(failure?: string): void {
    if (failure !== undefined) this.#step?.fail(failure);
    this.#step?.end();
    this.#step = undefined;
  }

  drewFirst(): void {
    this.#enter("decode");
  }

  finish({ reason, error, outputTokens, cachedTokens }: Finish): void {
    this.#generation.set({
      "gen_ai.response.finish_reason": reason,
      "gen_ai.usage.output_tokens": outputTokens,
      "moiety.cached_tokens": cachedTokens,
    });
    this.#end(error?.code);
  }

  /** Somebody else goes on with it, or nobody waits for it. */
  drop(code: string): void {
    this.#end(code);
  }

  #enter(phase: "prefill" | "decode"): void {
    // The step that ends a phase began in it.
    this.endStep();
    this.#phase.end();
    this.#phaseName = phase;
    this.#phase = this.#generation.child(phase);
  }

  #end(failure: string | undefined): void {
    this.endStep(failure);
    this.#phase.end();
    if (failure !== undefined) this.#generation.fail(failure);
    this.#generation.end();
  }

  #isDecodeStepTraced(): boolean {
    const index = this.#decodeSteps++;
    return index % DECODE_STEP_INTERVAL === 0 && index < MAX_DECODE_STEPS * DECODE_STEP_INTERVAL;
  }
}
