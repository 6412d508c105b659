import { AppError, type Clock } from "@moiety/core";
import type { Finish, LogEvent, LoggedToken } from "@moiety/queue";
import type { GatewayContext } from "../gateway-context.js";
import { type ChoiceEnd, type ChoiceEvent, type ChoicePlan, followChoice } from "../generation/choice.js";
import { Generation, type GenerationOptions } from "../generation/generation.js";
import type { GenerationTimer } from "../metrics.js";
import { readersFor } from "../openai/chat-completions.js";
import { toOpenAiError } from "../openai/errors.js";
import type { RateLimits } from "../tenants/rate-limits.js";
import {
  type EventBody,
  openResponse,
  type ResponseEnd,
  type ResponseEvent,
  type ResponseObject,
  type ResponseUsage,
} from "./response-object.js";
import { ResponseOutput } from "./response-output.js";
import type { ResponseStore, StoredResponse } from "./response-store.js";
import { TokenTape } from "./token-tape.js";

interface RunParts {
  readonly response: StoredResponse;
  readonly choice: AsyncIterable<ChoiceEvent>;
  readonly output: ResponseOutput;
  readonly clock: Clock;
  /** Says which end counts. */
  readonly settle: (end: ResponseEnd) => Promise<ResponseEnd>;
  /** Aborts when the reader leaves: nothing is settled then. */
  readonly signal: AbortSignal;
  /** As {@link Generation.queueRoom}. */
  readonly queueRoom?: number | undefined;
  /** As {@link Generation.limits}. */
  readonly limits?: RateLimits | undefined;
}

/** What a reader of a response needs of the gateway. */
export type RunContext = Pick<GatewayContext, "producer" | "clock" | "logger" | "metrics" | "model" | "names">;
/** Stores an end, unless there is one, and says which one counts. */
export type Settle = (response: StoredResponse, end: ResponseEnd, tokens: readonly LoggedToken[]) => Promise<ResponseEnd>;

/** Of what the client wants stored, the end is stored as well. */
export function settleIn(store: Pick<ResponseStore, "finish">): Settle {
  return async (response, end, tokens) => (response.head["store"] === false ? end : store.finish(response, end, tokens));
}

/** One reading of a response. Every reading makes the same events, wherever and whenever it takes place. */
export class ResponseRun {
  readonly #parts: RunParts;
  #failure: AppError | undefined;
  #settled: ResponseObject | undefined;

  constructor(parts: RunParts) {
    this.#parts = parts;
  }

  /** What went wrong with the generation, once it has ended. */
  get failure(): AppError | undefined {
    return this.#failure;
  }

  /** The whole response, once it has ended. */
  get settled(): ResponseObject | undefined {
    return this.#settled;
  }

  get queueRoom(): number | undefined {
    return this.#parts.queueRoom;
  }

  get limits(): RateLimits | undefined {
    return this.#parts.limits;
  }

  /** Every event, in order. @throws AppError when the reader leaves, or when the end cannot be stored. */
  async *events(): AsyncGenerator<ResponseEvent> {
    let number = 0;
    for await (const body of this.#bodies()) {
      yield { ...body, sequence_number: number };
      number += 1;
    }
  }

  /** Reads to the end. @throws AppError as {@link events} does. */
  async finish(): Promise<ResponseObject> {
    for await (const event of this.events()) void event;
    if (!this.#settled) throw new AppError("INTERNAL", "a response has no end");
    return this.#settled;
  }

  async *#bodies(): AsyncGenerator<EventBody> {
    const { response, choice, output, settle, signal } = this.#parts;
    const { head } = response;
    const waiting = head.background ? "queued" : "in_progress";
    yield { type: "response.created", response: openResponse(head, waiting) };
    if (head.background) yield { type: "response.queued", response: openResponse(head, waiting) };
    const begun = { type: "response.in_progress", response: openResponse(head, "in_progress") };
    let isBegun = !head.background;
    if (isBegun) yield begun;
    let end: ChoiceEnd | undefined;
    try {
      for await (const event of choice) {
        if (!isBegun) yield begun;
        isBegun = true;
        yield* output.push(event.delta);
        if (event.kind === "end") end = event.end;
      }
      if (!end) throw new AppError("CANCELLED", "the reader left");
    } catch (error) {
      if (signal.aborted) throw error;
      this.#failure = asFailure(error);
    }
    if (!isBegun) yield begun;
    yield* output.end(end && isWhole(end) ? "completed" : "incomplete");
    const settled = await settle(this.#endOf(end));
    this.#settled = { ...head, ...settled };
    yield { type: `response.${settled.status}`, response: this.#settled };
  }

  #endOf(end: ChoiceEnd | undefined): ResponseEnd {
    const { output, response, clock } = this.#parts;
    const { items } = output;
    const nothing = { completed_at: null, error: null, incomplete_details: null, output: items, usage: null };
    if (!end) {
      const failure = this.#failure ?? new AppError("INTERNAL", "a response ended without an end");
      if (failure.code === "CANCELLED") return { ...nothing, status: "cancelled" };
      const code = failure.code === "RESOURCE_EXHAUSTED" ? "rate_limit_exceeded" : "server_error";
      return { ...nothing, status: "failed", error: { code, message: toOpenAiError(failure).body.error.message } };
    }
    const usage = usageOf(response.plan.promptTokens, end);
    if (end.finishReason === "length") {
      return { ...nothing, status: "incomplete", incomplete_details: { reason: "max_output_tokens" }, usage };
    }
    return { ...nothing, status: "completed", completed_at: Math.floor(clock.nowMs() / 1_000), usage };
  }
}

/** A log that expired, or was never begun, cannot be read to its end. */
function asFailure(error: unknown): AppError {
  const failure = AppError.from(error);
  if (failure.code !== "NOT_FOUND") return failure;
  return new AppError("ABORTED", "what was generated is no longer there", { cause: failure });
}

/** A stop token of the client's own may cut a call short. */
const isWhole = (end: ChoiceEnd): boolean => end.finishReason === "stop" && !(end.calls > 0 && end.stopReason !== undefined);

function usageOf(promptTokens: number, end: ChoiceEnd): ResponseUsage {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: Math.min(promptTokens, end.cachedTokens) },
    output_tokens: end.outputTokens,
    output_tokens_details: { reasoning_tokens: end.reasoningTokens },
    total_tokens: promptTokens + end.outputTokens,
  };
}

function outputOf({ names }: RunContext, { id, plan }: StoredResponse): ResponseOutput {
  const { topLogprobs, sealed } = plan;
  return new ResponseOutput({ responseId: id, names, sealed, ...(topLogprobs === undefined ? {} : { topLogprobs }) });
}

export interface StartOptions extends Pick<GenerationOptions, "signal" | "detached" | "leave" | "timed" | "admit" | "trace"> {
  readonly response: StoredResponse;
  readonly plan: ChoicePlan;
  readonly settle: Settle;
  /** Default: the gateway's. */
  readonly producer?: GenerationOptions["producer"];
}

/** Puts a response's request into the queue. @throws AppError when there is no room; the signal's reason when it aborts. */
export async function startRun(context: RunContext, options: StartOptions): Promise<ResponseRun> {
  const { response, plan, settle, producer = context.producer, ...rest } = options;
  const { signal, leave } = rest;
  const { clock, logger, metrics } = context;
  const tape = new TokenTape(producer);
  const generation = await Generation.start({ producer: tape, clock, logger, metrics, plans: [plan], ...rest });
  return new ResponseRun({
    response,
    choice: generation.events(),
    output: outputOf(context, response),
    clock,
    signal: leave === undefined ? signal : AbortSignal.any([signal, leave]),
    queueRoom: generation.queueRoom,
    limits: generation.limits,
    settle: (end) => settle(response, end, tape.tokens),
  });
}

/** Whoever began a generation counts it. */
const nothing = () => undefined;
const UNOBSERVED: GenerationTimer = { admitted: nothing, tokens: nothing, end: nothing, fail: nothing, over: nothing };

/** Reads a response that has not ended, from its beginning, and leaves it running when the signal aborts. */
export function resumeRun(
  context: RunContext,
  options: { readonly response: StoredResponse; readonly settle: Settle; readonly signal: AbortSignal },
): ResponseRun {
  const { response, settle, signal } = options;
  const { clock, logger, producer } = context;
  const tape = new TokenTape(producer);
  const metrics = { startGeneration: () => UNOBSERVED };
  const plans = [planOf(context, response)];
  const generation = Generation.resume({ producer: tape, clock, logger, metrics, plans, signal });
  return new ResponseRun({
    response,
    choice: generation.events(),
    output: outputOf(context, response),
    clock,
    signal,
    settle: (end) => settle(response, end, tape.tokens),
  });
}

/** Tells again of a response that has ended. */
export function replayRun(
  context: RunContext,
  options: { readonly response: StoredResponse; readonly end: ResponseEnd; readonly tokens: readonly LoggedToken[] },
): ResponseRun {
  const { response, end, tokens } = options;
  const finish = finishOf(end, tokens.length);
  const logged = new TokenTape({
    submit: async () => undefined,
    resubmit: async () => undefined,
    cancel: async () => undefined,
    async *follow(): AsyncGenerator<LogEvent> {
      yield { kind: "tokens", start: 0, tokens };
      yield { kind: "finish", finish };
    },
  });
  const { signal } = new AbortController();
  const plan = planOf(context, response);
  return new ResponseRun({
    response,
    choice: followChoice(plan, { log: logged.follow(plan.record.id, 0, signal), cancel: () => undefined }),
    output: outputOf(context, response),
    clock: context.clock,
    signal,
    settle: async () => end,
  });
}

function finishOf({ status }: ResponseEnd, outputTokens: number): Finish {
  const reason = ({ completed: "stop", incomplete: "length", failed: "error", cancelled: "cancelled" } as const)[status];
  return { reason, promptTokens: 0, cachedTokens: 0, outputTokens, queueMs: 0, prefillMs: 0, decodeMs: 0 };
}

/** How a stored response's log is read. Nobody needs the prompt for that: only its length is right. */
function planOf({ model }: RunContext, { id, tenant, plan }: StoredResponse): ChoicePlan {
  const { params, stops, askedStopTokenIds, createdAtMs, deadlineAtMs, promptTokens } = plan;
  return {
    index: 0,
    stops,
    askedStopTokenIds,
    createReader: readersFor(model, plan.callable),
    record: {
      id,
      tenant,
      cacheSalt: tenant,
      priority: 0,
      createdAtMs,
      deadlineAtMs,
      promptTokens: new Int32Array(promptTokens),
      params,
    },
  };
}
