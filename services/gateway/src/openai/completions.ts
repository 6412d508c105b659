import { newRequestId, type RequestId } from "@moiety/core";
import { completionGrammar } from "@moiety/grammar";
import type { Tokenizer } from "@moiety/model";
import type { LoggedToken } from "@moiety/queue";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { GatewayContext } from "../gateway-context.js";
import { PlainReader, TokenIdReader } from "../generation/output-reader.js";
import { outputLimit, planChoices } from "../generation/plan.js";
import { samplingParams } from "../generation/sampling.js";
import { type CheckedGrammar, checkGrammar } from "../grammar/check-grammar.js";
import { checkAllowedModel, contextUnder, priorityUnder } from "../tenants/check-policy.js";
import type { TenantPolicy } from "../tenants/tenant-record.js";
import { answer, type PreparedAnswer, type RequestOrigin } from "./answer.js";
import {
  type CompletionRequest,
  checkPromptTokens,
  completionRequestSchema,
  type PromptInput,
  promptsOf,
} from "./completion-request.js";
import { CompletionChunks, type CompletionShape, completionResponse, type Echo } from "./completion-response.js";
import { invalidField } from "./errors.js";
import { askedContent } from "./grammar-fields.js";
import { checkModel, signatureOf } from "./models.js";
import { parseBody } from "./request-fields.js";

/** As OpenAI's API has it. */
const DEFAULT_MAX_TOKENS = 16;

/** `POST /v1/completions`. */
export async function createCompletion(context: GatewayContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const caller = context.callerOf(request);
  await context.accounts.checkRoom(caller);
  const prepared = await prepareCompletion(context, request.body, { caller });
  return answer({ context, reply, ...prepared });
}

/** Checks a body and says how to answer it. @throws AppError. */
export async function prepareCompletion(context: GatewayContext, input: unknown, origin: RequestOrigin): Promise<PreparedAnswer> {
  const body = parseBody(completionRequestSchema, input);
  const { model } = context;
  checkModel(model, body.model);
  const { caller } = origin;
  const policy = await context.accounts.tenants.policy(caller.tenant);
  checkAllowedModel(policy, model.name);
  const priority = priorityUnder(policy, body.priority);
  const inputs = promptsOf(body);
  checkChoices(inputs.length * (body.n ?? 1), context.config.MOIETY_MAX_CHOICES);
  if (!model.tokenizer && body.stop !== undefined) throw invalidField("stop", "this model has no tokenizer: use stop_token_ids");
  const prompts = await Promise.all(
    inputs.map((input, index) => encodePrompt(context, input, { body, index, count: inputs.length })),
  );
  const { tokenizer } = model;
  const held = await checkedAnswer(context, body);
  const plans = planChoices({
    id: origin.id ?? newRequestId("cmpl"),
    tenant: caller.tenant,
    fields: body,
    priority,
    clock: context.clock,
    timeoutMs: context.config.MOIETY_REQUEST_TIMEOUT_MS,
    createReader: () => (tokenizer ? new PlainReader(tokenizer) : new TokenIdReader()),
    prompts: prompts.map((tokens, index) => {
      const params = paramsOf(context, body, { tokens, index, held, policy });
      return { tokens, params, expectedOutput: params.maxTokens };
    }),
  });
  const id = plans[0]?.record.id ?? newRequestId("cmpl");
  const shape = shapeOf(context, body, { id, plans });
  const chunks = new CompletionChunks(shape, body.stream_options?.include_usage === true);
  return {
    caller,
    policy,
    plans,
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
    promptOf: (index) => Math.floor(index / (body.n ?? 1)),
    shape: {
      whole: (choices, usage) => completionResponse(shape, choices, usage),
      opening: () => [],
      chunks: (event) => chunks.chunks(event),
      usage: (usage) => chunks.usage(usage),
    },
  };
}

export function checkChoices(count: number, limit: number): void {
  if (count > limit) throw invalidField("n", `prompts times n is ${count}; expected at most ${limit}`);
}

/** What the answers are held to; absent: nothing. @throws AppError INVALID_ARGUMENT for what cannot be obeyed. */
async function checkedAnswer({ grammar, model }: GatewayContext, body: CompletionRequest): Promise<CheckedGrammar | undefined> {
  const asked = askedContent(body);
  if (asked === undefined) return undefined;
  const build = () => completionGrammar(asked.content, model.eosTokenIds);
  return checkGrammar(grammar, { asked: [asked], minTokens: body.min_tokens, build });
}

interface CompletionPrompt {
  readonly tokens: Int32Array;
  readonly index: number;
  readonly held: CheckedGrammar | undefined;
  readonly policy: TenantPolicy;
}

function paramsOf(context: GatewayContext, body: CompletionRequest, prompt: CompletionPrompt) {
  const limit = contextUnder(prompt.policy, context.workers.contextTokens);
  const room = Math.max(1, limit.tokens - prompt.tokens.length);
  const maxTokens = outputLimit({
    promptTokens: prompt.tokens.length,
    asked: body.max_tokens ?? Math.min(DEFAULT_MAX_TOKENS, room),
    askedField: "max_tokens",
    context: limit,
    promptField: "prompt",
  });
  return samplingParams(body, {
    vocabSize: context.model.config.vocabSize,
    eosTokenIds: context.model.eosTokenIds,
    maxTokens,
    topLogprobs: body.logprobs,
    promptLogprobs: body.echo === true && body.logprobs !== undefined,
    held: prompt.held,
  });
}

async function encodePrompt(
  { model }: GatewayContext,
  input: PromptInput,
  place: { body: CompletionRequest; index: number; count: number },
): Promise<Int32Array> {
  const field = place.count > 1 ? `prompt[${place.index}]` : "prompt";
  if ("text" in input && !model.tokenizer)
    throw invalidField(field, "this model has no tokenizer: expected an array of token ids");
  const tokens =
    "text" in input
      ? ((await model.tokenizer?.encode(input.text, { allowSpecial: true })) ?? new Int32Array(0))
      : Int32Array.from(input.tokens);
  checkPromptTokens(tokens, model.config.vocabSize, field);
  return tokens;
}

function shapeOf(
  context: GatewayContext,
  body: CompletionRequest,
  request: { id: RequestId; plans: ReturnType<typeof planChoices> },
): CompletionShape {
  const { model, names, producer } = context;
  const promptTokens = (index: number) => request.plans[index]?.record.promptTokens ?? new Int32Array(0);
  const readEcho = async (index: number): Promise<Echo | undefined> => {
    if (!body.echo) return undefined;
    const text = model.tokenizer?.decode(promptTokens(index)) ?? "";
    const id = request.plans[index]?.record.id;
    if (body.logprobs === undefined || id === undefined) return { text, tokens: [] };
    const logged = (await producer.promptLogprobs(id)) ?? [];
    return { text, tokens: placeTokens(logged, model.tokenizer) };
  };
  const echoes = new Map<number, Promise<Echo | undefined>>();
  return {
    id: request.id,
    createdAtS: Math.floor(context.clock.nowMs() / 1_000),
    model: model.name,
    signature: signatureOf(model, body),
    names,
    topLogprobs: body.logprobs,
    returnTokenIds: body.return_token_ids === true || model.tokenizer === undefined,
    promptTokens,
    echo: (index) => {
      const echo = echoes.get(index) ?? readEcho(index);
      echoes.set(index, echo);
      return echo;
    },
  };
}

/** Where each token's text begins in the text of all. */
function placeTokens(tokens: readonly LoggedToken[], tokenizer: Tokenizer | undefined): Echo["tokens"] {
  const decoder = tokenizer?.createDecoder();
  let offset = 0;
  return tokens.map((token) => {
    const place = { token, offset };
    offset += decoder?.push(token.token).length ?? 0;
    return place;
  });
}
