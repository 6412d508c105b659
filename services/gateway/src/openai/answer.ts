import { AppError, type RequestId } from "@moiety/core";
import type { FastifyReply } from "fastify";
import type { Caller } from "../auth/authenticate.js";
import type { GatewayContext } from "../gateway-context.js";
import { clientSignal } from "../gateway-context.js";
import type { ChoiceEnd, ChoiceEvent, ChoicePlan, WholeChoice } from "../generation/choice.js";
import { Generation } from "../generation/generation.js";
import { SseStream } from "../sse/sse-stream.js";
import type { TenantPolicy } from "../tenants/tenant-record.js";
import { toOpenAiError } from "./errors.js";
import { stateQueueRoom, stateRateLimits } from "./rate-limit-headers.js";
import { type Usage, usageOf } from "./usage.js";

/** Milliseconds until the answer began, or, of one that is not a stream, was all there. */
export const PROCESSING_HEADER = "openai-processing-ms";

/** What a stream's event holds: an object, or its JSON. */
export type Chunk = object | string;

/** How one endpoint spells its answers. */
export interface AnswerShape {
  readonly whole: (choices: readonly WholeChoice[], usage: Usage) => object | Promise<object>;
  /** Chunks before any token. */
  readonly opening: () => readonly object[];
  readonly chunks: (event: ChoiceEvent) => readonly Chunk[] | Promise<readonly Chunk[]>;
  readonly usage: (usage: Usage) => object;
}

/** Who asks, and by what name. */
export interface RequestOrigin {
  readonly caller: Caller;
  /** Of the answer; absent: a new one. */
  readonly id?: RequestId;
}

/** A request that was checked and can be run. */
export interface PreparedAnswer {
  readonly caller: Caller;
  /** What its tenant may do. */
  readonly policy: TenantPolicy;
  readonly plans: readonly ChoicePlan[];
  readonly shape: AnswerShape;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Number of the prompt that a choice answers. */
  readonly promptOf: (index: number) => number;
}

interface AnswerOptions extends PreparedAnswer {
  readonly context: GatewayContext;
  readonly reply: FastifyReply;
}

/** Runs the choices and answers, in one piece or as a stream. @throws AppError as long as nothing was sent. */
export async function answer(options: AnswerOptions): Promise<unknown> {
  const { context, reply, plans } = options;
  const { producer, clock, logger, metrics } = context;
  const trace = context.spanOf(reply.request);
  const signal = clientSignal(reply);
  const admit = () => context.accounts.admit({ ...options, ...context.trail.begin(reply.request) });
  const generation = await Generation.start({ producer, clock, logger, metrics, plans, signal, admit, trace });
  context.trail.admitted(reply.request);
  stateQueueRoom(reply, generation.queueRoom);
  stateRateLimits(reply, generation.limits);
  // The attention workers' logs know a choice by its own id: this line joins the two.
  const generationIds = plans.map(({ record }) => record.id);
  logger.info({ requestId: reply.request.id, traceId: trace?.traceId, generationIds }, "admitted");
  if (options.stream) {
    await stream(options, generation);
    return reply;
  }
  return answerWhole(options, generation);
}

/** The answer in one piece. @throws AppError. */
export async function answerWhole({ plans, shape, promptOf }: PreparedAnswer, generation: Generation): Promise<object> {
  const choices = await generation.collect();
  const ends = choices.map((choice) => choice.end);
  return shape.whole(choices, usageOf(plans, ends, promptOf));
}

async function stream(options: AnswerOptions, generation: Generation): Promise<void> {
  const { context, reply, plans, shape } = options;
  reply.header(PROCESSING_HEADER, String(context.elapsedMs(reply.request)));
  reply.hijack();
  const headers = Object.fromEntries(Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]));
  const sse = new SseStream(reply.raw, {
    headers,
    keepAliveMs: context.config.MOIETY_SSE_KEEP_ALIVE_MS,
    patienceMs: context.config.MOIETY_SLOW_CLIENT_TIMEOUT_MS,
  });
  const ends: ChoiceEnd[] = [];
  let ended = 0;
  let unread = false;
  // Promises only where there is something to wait for: this runs once for every token.
  const fail = (error: unknown) => {
    unread = true;
    throw error;
  };
  const send = (data: unknown) => {
    try {
      return sse.send(data)?.catch(fail);
    } catch (error) {
      return fail(error);
    }
  };
  try {
    for (const chunk of shape.opening()) await send(chunk);
    for await (const event of generation.events()) {
      if (event.kind === "end") {
        ends[plans.findIndex(({ index }) => index === event.index)] = event.end;
        ended += 1;
      }
      if (ended === plans.length) sse.hold();
      const chunks = shape.chunks(event);
      const full = sendAll(chunks instanceof Promise ? await chunks : chunks, send);
      if (full) await full;
    }
    if (options.includeUsage) await send(shape.usage(usageOf(plans, ends, options.promptOf)));
    await send("[DONE]");
    sse.end();
  } catch (thrown) {
    generation.cancel();
    const error = AppError.from(thrown);
    if (unread) {
      if (error.code === "RESOURCE_EXHAUSTED") context.metrics.slowClient();
      sse.destroy();
      return;
    }
    await endWithError(context, sse, { reply, error });
  }
}

/** One after the other. Returns what to wait for, if anything. */
function sendAll(chunks: readonly Chunk[], send: (chunk: Chunk) => Promise<void> | undefined): Promise<void> | undefined {
  const [only] = chunks;
  if (only === undefined) return undefined;
  if (chunks.length === 1) return send(only);
  return (async () => {
    for (const chunk of chunks) await send(chunk);
  })();
}

/** The status is long sent: the error is the last event of the stream. */
async function endWithError(
  context: GatewayContext,
  sse: SseStream,
  fault: { reply: FastifyReply; error: AppError },
): Promise<void> {
  const { reply, error } = fault;
  if (error.code !== "CANCELLED") context.logger.error({ err: error, requestId: reply.request.id }, "a stream failed");
  try {
    await sse.send(toOpenAiError(error).body);
    await sse.send("[DONE]");
    sse.end();
  } catch {
    sse.destroy();
  }
}
