import { invariant, type TenantId } from "@moiety/core";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Caller } from "../auth/authenticate.js";
import { callableNames } from "../chat/turn-shape.js";
import { clientSignal, type GatewayContext } from "../gateway-context.js";
import type { ChoicePlan } from "../generation/choice.js";
import { planChat } from "../openai/chat-completions.js";
import type { ChatRequest } from "../openai/chat-request.js";
import { signatureOf } from "../openai/models.js";
import { stateQueueRoom, stateRateLimits } from "../openai/rate-limit-headers.js";
import { parseBody } from "../openai/request-fields.js";
import type { TenantPolicy } from "../tenants/tenant-record.js";
import { toChat } from "./response-chat.js";
import { sendEvents } from "./response-events.js";
import { historyOf, resolveInput } from "./response-history.js";
import { newResponseId, type ResponseId } from "./response-ids.js";
import { openResponse, type ResponseHead } from "./response-object.js";
import { type ResponseRequest, responseRequestSchema } from "./response-request.js";
import { type ResponseRun, settleIn, startRun } from "./response-run.js";
import type { ResponsePlan, StoredResponse } from "./response-store.js";

/** A request that was checked. */
export interface PreparedResponse {
  readonly caller: Caller;
  readonly policy: TenantPolicy;
  readonly body: ResponseRequest;
  readonly response: StoredResponse;
  readonly plan: ChoicePlan;
}

/** `POST /v1/responses`. @throws AppError that names the field at fault. */
export async function createResponse(context: GatewayContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { body: raw } = request as { readonly body: Readonly<Record<string, unknown>> };
  const caller = context.callerOf(request);
  await context.accounts.checkRoom(caller);
  const prepared = await prepareResponse(context, raw, { caller, id: newResponseId() });
  const { body, response } = prepared;
  const run = body.background ? await startInBackground(context, prepared, reply) : undefined;
  if (!run) return answerInForeground(context, { ...prepared, reply });
  if (!body.stream) return openResponse(response.head, "queued");
  return sendEvents(context, reply, { events: context.responses.keeper.read(response, clientSignal(reply)).events() });
}

/** Checks a body and says what it asks for. @throws AppError that names the field at fault. */
export async function prepareResponse(
  context: GatewayContext,
  raw: Readonly<Record<string, unknown>>,
  { id, caller }: { readonly id: ResponseId; readonly caller: Caller },
): Promise<PreparedResponse> {
  const { store } = context.responses;
  const { tenant } = caller;
  const body = parseBody(responseRequestSchema, raw);
  const policy = await context.accounts.tenants.policy(tenant);
  const history = await historyOf(store, tenant, body.previous_response_id);
  const input = await resolveInput(store, tenant, { id, input: body.input });
  const nameOf = (index: number) => (Array.isArray(raw["input"]) ? `input[${index}]` : "input");
  const { chat, named } = await toChat(raw, body, [...history, { items: input, nameOf }]);
  const [plan] = await named(() => planChat(context, chat, { id, caller, policy }));
  invariant(plan !== undefined, "a chat without n has one choice");
  const head = headOf(context, { id, body, chat, plan });
  return { caller, policy, body, plan, response: { tenant, id, head, input, plan: storedPlan(body, chat, plan) } };
}

function storedPlan(body: ResponseRequest, chat: ChatRequest, { record, stops, askedStopTokenIds }: ChoicePlan): ResponsePlan {
  return {
    params: record.params,
    stops,
    askedStopTokenIds,
    callable: callableNames(chat),
    promptTokens: record.promptTokens.length,
    createdAtMs: record.createdAtMs,
    deadlineAtMs: record.deadlineAtMs,
    ...(chat.logprobs ? { topLogprobs: chat.top_logprobs ?? 0 } : {}),
    sealed: body.include?.includes("reasoning.encrypted_content") === true,
  };
}

/** Tools as OpenAI shows them again. */
function shownTool(tool: Readonly<Record<string, unknown>>): object {
  return {
    ...tool,
    description: tool["description"] ?? null,
    parameters: tool["parameters"] ?? null,
    strict: tool["strict"] ?? null,
  };
}

function headOf(
  { model }: GatewayContext,
  { id, body, chat, plan }: { id: ResponseId; body: ResponseRequest; chat: ChatRequest; plan: ChoicePlan },
): ResponseHead {
  return {
    id,
    object: "response",
    created_at: Math.floor(plan.record.createdAtMs / 1_000),
    model: model.name,
    background: body.background === true,
    previous_response_id: body.previous_response_id ?? null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: body.max_tool_calls ?? null,
    metadata: chat.metadata ?? {},
    parallel_tool_calls: chat.parallel_tool_calls ?? true,
    prompt_cache_key: chat.prompt_cache_key ?? null,
    reasoning: { effort: chat.reasoning_effort ?? "medium", summary: null },
    safety_identifier: chat.safety_identifier ?? null,
    service_tier: "default",
    ...signatureOf(model, chat),
    store: body.store !== false,
    temperature: chat.temperature ?? 1,
    text: { format: body.text?.format ?? { type: "text" }, verbosity: body.text?.verbosity ?? "medium" },
    tool_choice: body.tool_choice ?? "auto",
    tools: (body.tools ?? []).map(shownTool),
    top_logprobs: body.top_logprobs ?? 0,
    top_p: chat.top_p ?? 1,
    truncation: "disabled",
    user: chat.user ?? null,
  };
}

/** Stores the response, then queues its request; what cannot be queued does not stay stored. */
async function begin(
  context: GatewayContext,
  options: {
    readonly prepared: PreparedResponse;
    readonly signal: AbortSignal;
    readonly detached: boolean;
    readonly reply: FastifyReply;
  },
): Promise<ResponseRun> {
  const { prepared, signal, detached, reply } = options;
  const { response, plan, body } = prepared;
  const { store } = context.responses;
  const facts = { ...prepared, plans: [plan], promptOf: () => 0, ...context.trail.begin(reply.request) };
  const admit = () => context.accounts.admit(facts);
  const isStored = body.store !== false;
  if (isStored) await store.create(response);
  try {
    const trace = context.spanOf(reply.request);
    const run = await startRun(context, { response, plan, settle: settleIn(store), signal, detached, admit, trace });
    context.trail.admitted(reply.request);
    context.logger.info({ requestId: reply.request.id, traceId: trace?.traceId, generationIds: [response.id] }, "admitted");
    stateQueueRoom(reply, run.queueRoom);
    stateRateLimits(reply, run.limits);
    return run;
  } catch (error) {
    if (isStored) await remove(context, response);
    throw error;
  }
}

async function remove({ logger, responses }: GatewayContext, response: { tenant: TenantId; id: ResponseId }): Promise<void> {
  await responses.store.remove(response.tenant, response.id).catch((error: unknown) => {
    logger.warn({ err: error, response: response.id }, "a response that was not queued stays stored until it expires");
  });
}

async function startInBackground(context: GatewayContext, prepared: PreparedResponse, reply: FastifyReply): Promise<ResponseRun> {
  const stop = new AbortController();
  const run = await begin(context, { prepared, signal: stop.signal, detached: true, reply });
  context.responses.keeper.keep(prepared.response, { run, stop });
  return run;
}

async function answerInForeground(
  context: GatewayContext,
  asked: PreparedResponse & { readonly reply: FastifyReply },
): Promise<unknown> {
  const { keeper } = context.responses;
  const { response, body, reply } = asked;
  const isStored = body.store !== false;
  const release = isStored ? keeper.guard(response) : () => undefined;
  let run: ResponseRun | undefined;
  try {
    run = await begin(context, { prepared: asked, signal: clientSignal(reply), detached: false, reply });
    if (body.stream) return await sendEvents(context, reply, { events: run.events() });
    const whole = await run.finish();
    if (run.failure && run.failure.code !== "CANCELLED") throw run.failure;
    return whole;
  } finally {
    release();
    // Its client is gone, or its end could not be stored: the log still has to be read to its end.
    if (run && !run.settled && isStored) keeper.keep(response);
  }
}
