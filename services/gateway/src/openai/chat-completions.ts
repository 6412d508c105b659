import { newRequestId, type RequestId } from "@moiety/core";
import { completionGrammar, turnGrammar } from "@moiety/grammar";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Caller } from "../auth/authenticate.js";
import { chatPrompt } from "../chat/chat-prompt.js";
import { callableNames, constrainedTurn } from "../chat/turn-shape.js";
import type { GatewayContext } from "../gateway-context.js";
import type { ChoicePlan } from "../generation/choice.js";
import { HarmonyReader, type OutputReader, PlainReader, TokenIdReader } from "../generation/output-reader.js";
import { outputLimit, planChoices } from "../generation/plan.js";
import { samplingParams } from "../generation/sampling.js";
import { type CheckedGrammar, checkGrammar } from "../grammar/check-grammar.js";
import type { ServedModel } from "../model/served-model.js";
import { checkAllowedModel, contextUnder, priorityUnder } from "../tenants/check-policy.js";
import type { TenantPolicy } from "../tenants/tenant-record.js";
import { answer, type PreparedAnswer, type RequestOrigin } from "./answer.js";
import { type ChatRequest, chatRequestSchema } from "./chat-request.js";
import { ChatChunks, type ChatShape, chatResponse } from "./chat-response.js";
import { checkChoices } from "./completions.js";
import { checkModel, signatureOf } from "./models.js";
import { parseBody } from "./request-fields.js";

/** `POST /v1/chat/completions`. */
export async function createChatCompletion(
  context: GatewayContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const caller = context.callerOf(request);
  await context.accounts.checkRoom(caller);
  const prepared = await prepareChatCompletion(context, request.body, { caller });
  return answer({ context, reply, ...prepared });
}

/** Checks a body and says how to answer it. @throws AppError. */
export async function prepareChatCompletion(
  context: GatewayContext,
  input: unknown,
  origin: RequestOrigin,
): Promise<PreparedAnswer> {
  const body = parseBody(chatRequestSchema, input);
  const { model } = context;
  const { caller } = origin;
  const id = origin.id ?? newRequestId("chatcmpl");
  const policy = await context.accounts.tenants.policy(caller.tenant);
  const plans = await planChat(context, body, { id, caller, policy });
  const shape: ChatShape = {
    id,
    createdAtS: Math.floor(context.clock.nowMs() / 1_000),
    model: model.name,
    signature: signatureOf(model, body),
    names: context.names,
    topLogprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    includeReasoning: body.include_reasoning !== false,
    returnTokenIds: body.return_token_ids === true,
  };
  const includeUsage = body.stream_options?.include_usage === true;
  const chunks = new ChatChunks(shape, includeUsage);
  return {
    caller,
    policy,
    plans,
    stream: body.stream === true,
    includeUsage,
    promptOf: () => 0,
    shape: {
      whole: (choices, usage) => chatResponse(shape, choices, usage),
      opening: () => plans.map((plan) => chunks.opening(plan.index)),
      chunks: (event) => chunks.chunks(event),
      usage: (usage) => chunks.usage(usage),
    },
  };
}

/** Whose a chat is. */
export interface ChatOrigin {
  readonly id: RequestId;
  readonly caller: Caller;
  readonly policy: TenantPolicy;
}

interface ChatFacts {
  readonly promptTokens: number;
  readonly held: CheckedGrammar | undefined;
  readonly policy: TenantPolicy;
}

/** What a chat asks for, ready for the queue. @throws AppError that names the field at fault. */
export async function planChat(
  context: GatewayContext,
  body: ChatRequest,
  { id, caller, policy }: ChatOrigin,
): Promise<readonly ChoicePlan[]> {
  const { model, clock, config } = context;
  checkModel(model, body.model);
  checkAllowedModel(policy, model.name);
  const priority = priorityUnder(policy, body.priority);
  checkChoices(body.n ?? 1, config.MOIETY_MAX_CHOICES);
  const tokens = await chatPrompt(body, model, clock);
  const held = await checkedTurn(context, body);
  const params = paramsOf(context, body, { promptTokens: tokens.length, held, policy });
  const asked = body.max_completion_tokens ?? body.max_tokens ?? config.MOIETY_EXPECTED_OUTPUT_TOKENS;
  return planChoices({
    id,
    tenant: caller.tenant,
    fields: body,
    priority,
    clock,
    timeoutMs: config.MOIETY_REQUEST_TIMEOUT_MS,
    createReader: readersFor(model, callableNames(body)),
    prompts: [{ tokens, params, expectedOutput: Math.min(params.maxTokens, asked) }],
  });
}

/** Makes what reads what the model writes in a chat, and takes calls of `callable` alone for calls. */
export function readersFor({ tokenizer, harmony }: ServedModel, callable: readonly string[]): () => OutputReader {
  if (!tokenizer) return () => new TokenIdReader();
  return harmony ? () => new HarmonyReader(tokenizer, callable) : () => new PlainReader(tokenizer);
}

/** Whether calls that nobody declared can be kept from being written; if not, they are not delivered as calls. */
function canHold({ engine, withoutEngine }: GatewayContext["grammar"], body: ChatRequest): boolean {
  if (engine === undefined || withoutEngine(engine.name) !== undefined) return false;
  return !body.min_tokens && body.ignore_eos !== true;
}

/** What the turn is held to; absent: nothing. @throws AppError INVALID_ARGUMENT for what cannot be obeyed. */
async function checkedTurn({ grammar, model }: GatewayContext, body: ChatRequest): Promise<CheckedGrammar | undefined> {
  const turn = constrainedTurn(body);
  if (turn === undefined) return undefined;
  const { shape, asked, isBinding } = turn;
  if (!isBinding && !(model.harmony && canHold(grammar, body))) return undefined;
  const build = () => {
    if (model.harmony) return turnGrammar(shape);
    return completionGrammar(shape.answer ?? { kind: "text" }, model.chatStopTokenIds);
  };
  return checkGrammar(grammar, { asked, minTokens: body.min_tokens, build });
}

function paramsOf(context: GatewayContext, body: ChatRequest, { promptTokens, held, policy }: ChatFacts) {
  const maxTokens = outputLimit({
    promptTokens,
    asked: body.max_completion_tokens ?? body.max_tokens,
    askedField: body.max_completion_tokens === undefined ? "max_tokens" : "max_completion_tokens",
    context: contextUnder(policy, context.workers.contextTokens),
    promptField: "messages",
  });
  return samplingParams(body, {
    vocabSize: context.model.config.vocabSize,
    eosTokenIds: context.model.chatStopTokenIds,
    maxTokens,
    topLogprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    promptLogprobs: false,
    held,
  });
}
