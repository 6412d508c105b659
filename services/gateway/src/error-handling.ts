import type { AppError } from "@moiety/core";
import type { Logger } from "@moiety/runtime";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { noRoute } from "./openai/endpoints.js";
import { fromThrown, toOpenAiError } from "./openai/errors.js";

/** The error as OpenAI would answer it. */
export function sendError(reply: FastifyReply, error: AppError): FastifyReply {
  const { status, body, retryAfterS } = toOpenAiError(error);
  if (retryAfterS !== undefined) reply.header("retry-after", String(retryAfterS));
  return reply.code(status).send(body);
}

const isFaultOfBody = (thrown: unknown) =>
  thrown instanceof Error && "code" in thrown && String(thrown.code).startsWith("FST_ERR_CTP_");

/** Answers whatever is thrown, and whatever has no route, as errors of OpenAI's. */
export function addErrorHandling(app: FastifyInstance, logger: Logger): void {
  const answerNoRoute = (request: FastifyRequest, reply: FastifyReply) => {
    const { error, allow } = noRoute(request);
    if (allow !== undefined) reply.header("allow", allow);
    return sendError(reply, error);
  };
  app.setErrorHandler((thrown, request, reply) => {
    // A body is read even where nobody takes it; what is wrong with it matters less than that.
    if (request.is404 && isFaultOfBody(thrown)) return answerNoRoute(request, reply);
    const error = fromThrown(thrown);
    if (toOpenAiError(error).status >= 500) logger.error({ err: error, requestId: request.id }, "a request failed");
    return sendError(reply, error);
  });
  app.setNotFoundHandler(answerNoRoute);
}
