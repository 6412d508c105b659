import { AppError, type Clock, invariant, type RequestId } from "@moiety/core";
import type { LogEvent, RequestProducer } from "@moiety/queue";
import type { Logger, TraceSpan } from "@moiety/runtime";
import type { GatewayMetrics, GenerationTimer } from "../metrics.js";
import type { Charge } from "../tenants/charge.js";
import type { RateLimits } from "../tenants/rate-limits.js";
import { tracedTimer } from "../tracing/traced-timer.js";
import { type ChoiceEvent, type ChoicePlan, type FunctionCall, followChoice, type WholeChoice } from "./choice.js";
import type { CallDelta, ContentToken } from "./choice-assembler.js";
import { RequestFollower } from "./follow-request.js";
import { mergeAsync } from "./merge.js";

export interface GenerationOptions {
  readonly producer: Pick<RequestProducer, "submit" | "resubmit" | "follow" | "cancel">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<GatewayMetrics, "startGeneration">;
  readonly plans: readonly ChoicePlan[];
  /** Lets the request in, at its tenant's charge. Absent: nobody is charged. @throws AppError when its limits do not allow it. */
  readonly admit?: () => Promise<Charge>;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
  /** Aborts when another process will follow the requests on: they are not cancelled. */
  readonly leave?: AbortSignal;
  /** The choices go on when the reader stops or the signal aborts; only their deadline cancels them. */
  readonly detached?: boolean;
  /** False: nobody waits for the answer, so that its times say nothing about the service. Default true. */
  readonly timed?: boolean;
  /** The request's span, in which workers go on. Absent: it is not sampled. */
  readonly trace?: TraceSpan | undefined;
}

/** After the deadline the worker has so long to say so itself. */
const DEADLINE_GRACE_MS = 2_000;

/** A reason that costs nothing: an error of its own would be made, stack and all, for each generation. */
const ENDED = "ended";

const clientLeft = () => new AppError("CANCELLED", "the client closed the connection");

/** All choices of one HTTP request. Whatever ends it early cancels what is still running. */
export class Generation {
  readonly #options: GenerationOptions;
  readonly #follow: (plan: ChoicePlan) => AsyncIterable<LogEvent>;
  readonly #running = new Set<RequestId>();
  readonly #stop = new AbortController();
  readonly #timer: GenerationTimer;
  #queueRoom: number | undefined;
  #charge: Charge | undefined;

  private constructor(options: GenerationOptions, isWhole: boolean) {
    this.#options = options;
    const { producer, clock } = options;
    const { signal } = this.#stop;
    this.#follow = ({ record }) =>
      isWhole ? new RequestFollower(record, { producer, clock, signal }) : producer.follow(record.id, 0, signal);
    const promptTokens = options.plans.map(({ record }) => record.promptTokens.length);
    const [plan] = options.plans;
    invariant(plan !== undefined, "a generation has a choice");
    const timer = options.metrics.startGeneration({ tenant: plan.record.tenant, promptTokens, timed: options.timed ?? true });
    const { trace } = options;
    this.#timer = trace === undefined ? timer : tracedTimer(timer, trace, promptTokens.length);
  }

  /**
   * Submits every choice, or none.
   * @throws AppError RESOURCE_EXHAUSTED when the queue is full or the tenant at its limits; UNAVAILABLE when Redis is away; the signal's reason when it aborts.
   */
  static async start(options: GenerationOptions): Promise<Generation> {
    const plans = options.trace === undefined ? options.plans : tracedPlans(options.plans, options.trace);
    const generation = new Generation({ ...options, plans }, true);
    generation.#charge = await options.admit?.();
    try {
      for (const { record } of plans) {
        options.signal.throwIfAborted();
        generation.#queueRoom = await options.producer.submit(record);
        generation.#running.add(record.id);
      }
      options.signal.throwIfAborted();
      generation.#timer.admitted();
      return generation;
    } catch (error) {
      generation.#cancelAll();
      generation.#charge?.void();
      throw error;
    }
  }

  /** The tenant's limits when the request was let in; absent: it has none. */
  get limits(): RateLimits | undefined {
    return this.#charge?.limits;
  }

  /** Requests for which the queue had room after this one; absent when that is not known. */
  get queueRoom(): number | undefined {
    return this.#queueRoom;
  }

  /** Reads choices that are in the queue already, and leaves them there. Of their records the prompts are not needed. */
  static resume(options: Omit<GenerationOptions, "detached">): Generation {
    const generation = new Generation({ ...options, detached: true }, false);
    for (const { record } of options.plans) generation.#running.add(record.id);
    return generation;
  }

  /** Every event of every choice. Cancels what is left when the reader stops or the signal aborts. @throws AppError. */
  async *events(): AsyncGenerator<ChoiceEvent> {
    const { plans, signal, leave, clock, detached } = this.#options;
    let late = false;
    const end = () => {
      if (!detached || late) this.#cancelAll();
      this.#stop.abort(ENDED);
    };
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    const onLeave = () => {
      this.#running.clear();
      this.#stop.abort(ENDED);
    };
    leave?.addEventListener("abort", onLeave, { once: true });
    if (leave?.aborted) onLeave();
    const deadline = new AbortController();
    const latestMs = Math.max(...plans.map(({ record }) => record.deadlineAtMs)) + DEADLINE_GRACE_MS;
    clock.sleep(Math.min(latestMs - clock.nowMs(), 2 ** 31 - 1), deadline.signal).then(
      () => {
        late = true;
        this.#stop.abort(ENDED);
      },
      () => undefined,
    );
    const cancel = (id: RequestId) => this.#cancel(id);
    try {
      const follow = (plan: ChoicePlan) => followChoice(plan, { log: this.#follow(plan), cancel });
      const choices = plans.map(follow);
      const [only] = choices;
      for await (const event of only !== undefined && choices.length === 1 ? only : mergeAsync(choices)) {
        this.#observe(event);
        yield event;
      }
      if (leave?.aborted) throw new AppError("ABORTED", "another process goes on with the request");
      if (late) throw new AppError("DEADLINE_EXCEEDED", "the request was not finished by its deadline");
      if (signal.aborted) throw clientLeft();
    } catch (error) {
      if (!leave?.aborted) this.#timer.fail(AppError.from(error));
      this.#charge?.fail(AppError.from(error));
      throw error;
    } finally {
      const isLeft = leave?.aborted || (detached && signal.aborted && !late);
      this.#endCharge(isLeft === true);
      deadline.abort(ENDED);
      signal.removeEventListener("abort", end);
      leave?.removeEventListener("abort", onLeave);
      this.#timer.over();
      end();
    }
  }

  /** All choices when they are all there, in order. @throws AppError. */
  async collect(): Promise<readonly WholeChoice[]> {
    const choices = this.#options.plans.map(() => ({
      content: [] as string[],
      reasoning: [] as string[],
      calls: new CallCollector(),
      tokens: [] as ContentToken[],
      tokenIds: [] as number[],
    }));
    const whole: WholeChoice[] = [];
    for await (const event of this.events()) {
      const parts = choices[event.index];
      invariant(parts !== undefined, "an event belongs to a choice");
      parts.content.push(event.delta.content);
      parts.reasoning.push(event.delta.reasoning);
      for (const call of event.delta.calls) parts.calls.push(call);
      for (const token of event.delta.tokens) parts.tokens.push(token);
      for (const id of event.delta.tokenIds) parts.tokenIds.push(id);
      if (event.kind !== "end") continue;
      const { tokens, tokenIds } = parts;
      whole.push({
        index: event.index,
        content: parts.content.join(""),
        reasoning: parts.reasoning.join(""),
        calls: parts.calls.whole(),
        tokens,
        tokenIds,
        end: event.end,
      });
    }
    return whole.sort((a, b) => a.index - b.index);
  }

  #observe(event: ChoiceEvent): void {
    this.#timer.tokens(event.index, event.delta.tokenIds.length);
    this.#charge?.tokens(event.index, event.delta.tokenIds);
    if (event.kind !== "end") return;
    const id = this.#options.plans[event.index]?.record.id;
    if (id !== undefined) this.#running.delete(id);
    this.#timer.end(event.index, event.end);
    this.#charge?.end(event.index, event.end);
  }

  /** Cancels what is still running: for those who do not read {@link events} to their end. */
  cancel(): void {
    this.#timer.over();
    this.#endCharge(false);
    this.#cancelAll();
  }

  /** `isLeft`: another process will count what the request took. */
  #endCharge(isLeft: boolean): void {
    if (this.#running.size > 0) this.#charge?.fail(clientLeft());
    if (isLeft) this.#charge?.leave();
    else this.#charge?.settle();
  }

  #cancelAll(): void {
    for (const id of this.#running) this.#cancel(id);
  }

  #cancel(id: RequestId): void {
    if (!this.#running.delete(id)) return;
    this.#options.producer.cancel(id).catch((error: unknown) => {
      this.#options.logger.warn({ err: error, request: id }, "cancelling failed; the deadline will end the request");
    });
  }
}

/** What the workers, too, do for a request belongs to its span. */
function tracedPlans(plans: readonly ChoicePlan[], { traceparent }: TraceSpan): ChoicePlan[] {
  return plans.map((plan) => ({ ...plan, record: { ...plan.record, traceparent } }));
}

/** Joins the deltas of one choice's calls. */
class CallCollector {
  readonly #calls: { readonly name: string; readonly parts: string[] }[] = [];

  push(delta: CallDelta): void {
    if (delta.name !== undefined) this.#calls.push({ name: delta.name, parts: [] });
    this.#calls[delta.index]?.parts.push(delta.arguments);
  }

  whole(): readonly FunctionCall[] {
    return this.#calls.map(({ name, parts }) => ({ name, arguments: parts.join("") }));
  }
}
