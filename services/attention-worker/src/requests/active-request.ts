import { AppError, type Clock, invariant } from "@moiety/core";
import type { Sample } from "@moiety/kernels";
import type { Claim, Finish, FinishReason, LoggedToken } from "@moiety/queue";
import type { Tracing } from "@moiety/runtime";
import type { ForwardRows } from "../forward/forward-rows.js";
import { Sequence } from "../scheduler/sequence.js";
import type { PlannedRows } from "../scheduler/step-plan.js";
import { type Constraint, constraintOf, type Decoding } from "./constraint.js";
import { GenerationTrace } from "./generation-trace.js";
import { LogWriter, type LogWriterEvents } from "./log-writer.js";
import { checkTokens, Sampling, toLoggedToken } from "./sampling.js";

export interface ActiveRequestOptions extends LogWriterEvents {
  readonly claim: Claim;
  readonly vocabSize: number;
  /** Longest prompt plus output. */
  readonly contextTokens: number;
  readonly pageTokens: number;
  readonly clock: Clock;
  readonly tracing: Tracing;
  /** Absent: requests with a grammar are refused. */
  readonly decoding?: Decoding;
}

/** A claim in the engine's hands: its sequence, how it draws, what it has logged, and how long everything took. */
export class ActiveRequest {
  readonly claim: Claim;
  readonly sequence: Sequence;
  readonly writer: LogWriter;
  /** Absent: the request is not sampled. */
  readonly trace: GenerationTrace | undefined;
  readonly #sampling: Sampling;
  readonly #constraint: Constraint | undefined;
  readonly #clock: Clock;
  readonly #over = new AbortController();
  /** As its signal says, at less cost. */
  #isOver = false;
  readonly #promptLogprobs: LoggedToken[] = [];
  #promptScored = false;
  #startedAtMs: number | undefined;
  #drewFirstAtMs: number | undefined;
  #cachedTokens: number | undefined;
  /** Passes in a row that failed with this request in them. */
  failures = 0;

  /** @throws AppError INVALID_ARGUMENT, OUT_OF_RANGE or UNAVAILABLE for a request that cannot be served. */
  constructor(options: ActiveRequestOptions) {
    const { claim } = options;
    const { record, log } = claim;
    this.claim = claim;
    this.#clock = options.clock;
    this.writer = new LogWriter(claim, options);
    if (record.promptTokens.length === 0) throw new AppError("INVALID_ARGUMENT", "the prompt must have at least one token");
    checkTokens("promptTokens", record.promptTokens, options.vocabSize);
    this.#sampling = new Sampling(record.params, options.vocabSize);
    const room = options.contextTokens - record.promptTokens.length;
    if (room <= 0) {
      throw new AppError(
        "OUT_OF_RANGE",
        `a prompt of ${record.promptTokens.length} tokens exceeds the context of ${options.contextTokens}`,
      );
    }
    this.sequence = new Sequence({
      id: record.id,
      priority: record.priority,
      arrivedAtMs: record.createdAtMs,
      promptTokens: record.promptTokens,
      outputTokens: log.map(({ token }) => token),
      maxTokens: record.promptTokens.length + Math.min(record.params.maxTokens, room),
      cacheSalt: record.cacheSalt,
      pageTokens: options.pageTokens,
      reusePrefix: !this.#scoresPrompt,
    });
    const logged = () => Int32Array.from(log, ({ token }) => token);
    this.#constraint = this.ending === undefined ? constraintOf(options.decoding, record.params, logged) : undefined;
    this.trace = GenerationTrace.begin(options.tracing, claim);
  }

  get #scoresPrompt(): boolean {
    return this.claim.record.params.promptLogprobs === true && this.claim.log.length === 0 && !this.#promptScored;
  }

  /** Aborts when the request needs no more computing. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether its tokens call for its end: also right after a claim whose last holder died before it wrote the end. */
  get ending(): FinishReason | undefined {
    const { sequence, claim } = this;
    const { stopTokenIds, minTokens } = claim.record.params;
    const last = sequence.tokens.at(sequence.tokens.length - 1);
    const { outputLength } = sequence;
    if (outputLength > minTokens && last !== undefined && stopTokenIds.includes(last)) return "stop";
    const full = sequence.tokens.length >= sequence.maxTokens;
    return full && !this.#scoresPrompt ? "length" : undefined;
  }

  /** A plan's rows of this request, with their draws. */
  prepare(rows: PlannedRows): ForwardRows {
    this.#startedAtMs ??= this.#clock.nowMs();
    this.#cachedTokens ??= rows.sequence.pages.cachedTokens;
    const draws = this.#sampling.draws(rows, { scoresPrompt: this.#scoresPrompt, mask: this.#constraint?.mask });
    return { rows, draws, signal: this.#over.signal, alone: this.failures > 0, trace: this.trace?.beginStep(rows) };
  }

  /**
   * Takes in what a pass drew: the prompt's log-probabilities are kept and, when complete, written. Returns the new token, if the
   * rows drew one.
   */
  receive(rows: PlannedRows, samples: readonly Sample[]): Sample | undefined {
    const next = rows.draws ? samples.at(-1) : undefined;
    const scored = samples.length - (rows.draws ? 1 : 0);
    for (let offset = 0; offset < scored; offset++) {
      const sample = samples[offset];
      if (sample !== undefined) this.#promptLogprobs[rows.start + offset + 1] = toLoggedToken(sample);
    }
    if (next !== undefined) {
      if (this.#drewFirstAtMs === undefined) this.#drawsFirst();
      this.#constraint?.take(next.token);
      if (this.#scoresPrompt) this.#writePromptLogprobs();
    }
    return next;
  }

  #drawsFirst(): void {
    this.#drewFirstAtMs = this.#clock.nowMs();
    this.trace?.drewFirst();
  }

  /** Logs the newest token of the sequence. */
  log(sample: Sample): void {
    const index = this.sequence.outputLength - 1;
    invariant(index >= 0, "a logged token is in the sequence");
    this.writer.append(index, toLoggedToken(sample));
  }

  /** Nothing more of it is computed. */
  stop(): void {
    this.#isOver = true;
    this.#over.abort();
  }

  finish(reason: FinishReason, error?: AppError): Finish {
    const { record, log, claimedAtMs } = this.claim;
    const nowMs = this.#clock.nowMs();
    const startedAtMs = this.#startedAtMs ?? nowMs;
    const drewAtMs = this.#drewFirstAtMs ?? nowMs;
    const queuedSinceMs = log.length === 0 ? record.createdAtMs : claimedAtMs;
    const finish: Finish = {
      reason,
      ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
      promptTokens: record.promptTokens.length,
      cachedTokens: Math.min(this.#cachedTokens ?? 0, record.promptTokens.length),
      outputTokens: Math.min(this.sequence.outputLength, record.params.maxTokens),
      queueMs: Math.max(0, startedAtMs - queuedSinceMs),
      prefillMs: Math.max(0, drewAtMs - startedAtMs),
      decodeMs: Math.max(0, nowMs - drewAtMs),
    };
    this.trace?.finish(finish);
    return finish;
  }

  #writePromptLogprobs(): void {
    const first: LoggedToken = { token: this.claim.record.promptTokens[0] ?? 0 };
    this.writer.putPromptLogprobs([first, ...this.#promptLogprobs.slice(1)]);
    this.#promptScored = true;
  }
}
