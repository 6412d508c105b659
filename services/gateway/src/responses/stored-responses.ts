import { AppError, type TenantId } from "@moiety/core";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { clientSignal, type GatewayContext } from "../gateway-context.js";
import { parseBody } from "../openai/request-fields.js";
import { sendEvents } from "./response-events.js";
import { noResponse } from "./response-history.js";
import { asResponseId } from "./response-ids.js";
import { isReadable } from "./response-keeper.js";
import { openResponse, type ResponseObject } from "./response-object.js";
import { type ResponseRun, replayRun } from "./response-run.js";
import type { StoredResponse } from "./response-store.js";

const MAX_LIMIT = 100;
const wholeNumber = (max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "expected a whole number")
    .transform(Number)
    .refine((value) => value <= max, `expected at most ${max}`);
export const retrieveSchema = z.object({
  stream: z.enum(["true", "false"], { error: 'expected "true" or "false"' }).optional(),
  starting_after: wholeNumber(999_999_999).optional(),
});
export const inputItemListSchema = z.object({
  after: z.string().max(256).optional(),
  limit: wholeNumber(MAX_LIMIT)
    .refine((limit) => limit > 0, "expected at least 1")
    .optional(),
  order: z.enum(["asc", "desc"], { error: 'expected "asc" or "desc"' }).optional(),
});

async function load({ tenantOf, responses }: GatewayContext, request: FastifyRequest): Promise<StoredResponse> {
  const tenant: TenantId = tenantOf(request);
  const { id: asked } = request.params as { readonly id: string };
  const id = asResponseId(asked);
  const response = id === undefined ? undefined : await responses.store.read(tenant, id);
  if (!response) throw noResponse(asked);
  return response;
}

/** `GET /v1/responses/{id}`, whole or as a stream from any event on. */
export async function retrieveResponse(context: GatewayContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const query = parseBody(retrieveSchema, request.query);
  const response = await load(context, request);
  const signal = clientSignal(reply);
  if (query.stream !== "true") return currentState(context, response, signal);
  const run = await reading(context, response, signal);
  return sendEvents(context, reply, {
    events: run.events(),
    ...(query.starting_after === undefined ? {} : { after: query.starting_after }),
  });
}

async function reading(context: GatewayContext, response: StoredResponse, signal: AbortSignal): Promise<ResponseRun> {
  const { store, keeper } = context.responses;
  const { end, tenant, id } = response;
  if (end) return replayRun(context, { response, end, tokens: await store.tokens(tenant, id) });
  return keeper.read(response, signal);
}

async function currentState(context: GatewayContext, response: StoredResponse, signal: AbortSignal): Promise<ResponseObject> {
  const { head, end, id } = response;
  if (end) return { ...head, ...end };
  const progress = await context.producer.progress(id);
  if (progress?.finished || (!progress && (await isReadable(context, response)))) {
    return (await reading(context, response, signal)).finish();
  }
  return openResponse(head, head.background && !progress?.started ? "queued" : "in_progress");
}

/** `POST /v1/responses/{id}/cancel`: of what has ended already, the end. */
export async function cancelResponse(context: GatewayContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const response = await load(context, request);
  if (!response.head.background) {
    throw new AppError("INVALID_ARGUMENT", "only responses that were made with background: true can be cancelled", {
      details: { param: "response_id", openaiCode: "response_not_cancellable" },
    });
  }
  if (!response.end) await context.producer.cancel(response.id);
  return currentState(context, response, clientSignal(reply));
}

/** `DELETE /v1/responses/{id}`: what has not ended is cancelled. */
export async function deleteResponse(context: GatewayContext, request: FastifyRequest): Promise<unknown> {
  const response = await load(context, request);
  if (!response.end) await context.producer.cancel(response.id);
  await context.responses.store.remove(response.tenant, response.id);
  return { id: response.id, object: "response", deleted: true };
}

/** `GET /v1/responses/{id}/input_items`: what this response was asked; what came before is its predecessors'. */
export async function listInputItems(context: GatewayContext, request: FastifyRequest): Promise<unknown> {
  const { after, limit = 20, order = "desc" } = parseBody(inputItemListSchema, request.query);
  const { input } = await load(context, request);
  const items = order === "asc" ? input : input.toReversed();
  const place = after === undefined ? -1 : items.findIndex((item) => item.id === after);
  if (after !== undefined && place < 0) {
    throw new AppError("INVALID_ARGUMENT", "after: expected the id of an item of this list", { details: { param: "after" } });
  }
  const data = items.slice(place + 1, place + 1 + limit);
  return {
    object: "list",
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: place + 1 + data.length < items.length,
  };
}
