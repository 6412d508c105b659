import { AppError } from "@moiety/core";
import type { FastifyReply } from "fastify";
import type { GatewayContext } from "../gateway-context.js";
import { PROCESSING_HEADER } from "../openai/answer.js";
import { toOpenAiError } from "../openai/errors.js";
import { SseStream } from "../sse/sse-stream.js";
import type { ResponseEvent } from "./response-object.js";

export interface SendOptions {
  readonly events: AsyncIterable<ResponseEvent>;
  /** Events up to this number are left out: the client has them. */
  readonly after?: number;
}

/** Streams events to a client. A fault that is not the response's own comes as an `error` event, the last. */
export async function sendEvents(context: GatewayContext, reply: FastifyReply, options: SendOptions): Promise<FastifyReply> {
  const { events, after = -1 } = options;
  reply.header(PROCESSING_HEADER, String(context.elapsedMs(reply.request)));
  reply.hijack();
  const headers = Object.fromEntries(Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]));
  const sse = new SseStream(reply.raw, {
    headers,
    keepAliveMs: context.config.MOIETY_SSE_KEEP_ALIVE_MS,
    patienceMs: context.config.MOIETY_SLOW_CLIENT_TIMEOUT_MS,
  });
  let next = 0;
  let unread = false;
  const send = async (event: ResponseEvent) => {
    try {
      await sse.send(event, event.type);
    } catch (error) {
      unread = true;
      throw error;
    }
  };
  try {
    for await (const event of events) {
      next = event.sequence_number + 1;
      if (event.sequence_number > after) await send(event);
    }
    sse.end();
  } catch (thrown) {
    const error = AppError.from(thrown);
    if (unread && error.code === "RESOURCE_EXHAUSTED") context.metrics.slowClient();
    if (!unread && error.code !== "CANCELLED") {
      context.logger.error({ err: error, requestId: reply.request.id }, "a stream failed");
      const { code, message, param } = toOpenAiError(error).body.error;
      await send({ type: "error", sequence_number: next, code, message, param }).catch(() => undefined);
    }
    if (unread) sse.destroy();
    else sse.end();
  }
  return reply;
}
