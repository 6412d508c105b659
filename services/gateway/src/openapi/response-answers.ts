import { z } from "zod";
import { count, tokenLogprobs } from "./answers.js";
import { listAnswer } from "./list-answer.js";

const text = z.string();
const anything = z.record(z.string(), z.unknown());

/** Tokens as the Responses and Batch APIs count them. */
export const tokenUsage = z.object({
  input_tokens: count,
  input_tokens_details: z.object({ cached_tokens: count }),
  output_tokens: count,
  output_tokens_details: z.object({ reasoning_tokens: count }),
  total_tokens: count,
});

const itemStatus = z.enum(["in_progress", "completed", "incomplete"]);
const outputText = z.object({
  type: z.literal("output_text"),
  text,
  annotations: z.array(z.never()),
  logprobs: z.array(tokenLogprobs),
});
const reasoningText = z.object({ type: z.literal("reasoning_text"), text });
const functionCall = {
  type: z.literal("function_call"),
  call_id: z.string(),
  name: z.string(),
  arguments: text,
  status: itemStatus,
};

const outputItem = z.discriminatedUnion("type", [
  z.object({
    id: z.string(),
    type: z.literal("message"),
    role: z.literal("assistant"),
    status: itemStatus,
    content: z.array(outputText),
  }),
  z.object({
    id: z.string(),
    type: z.literal("reasoning"),
    summary: z.array(z.never()),
    content: z.array(reasoningText).describe("the thoughts themselves"),
    encrypted_content: z.string().optional(),
    status: itemStatus,
  }),
  z.object({ id: z.string(), ...functionCall }),
]);

const inputPart = z.union([
  z.object({ type: z.enum(["input_text", "output_text"]), text }),
  z.object({ type: z.literal("refusal"), refusal: text }),
]);
const inputItem = z.discriminatedUnion("type", [
  z.object({
    id: z.string(),
    type: z.literal("message"),
    role: z.enum(["user", "assistant", "system", "developer"]),
    status: itemStatus,
    content: z.array(z.union([inputPart, outputText])),
  }),
  z.object({
    id: z.string(),
    type: z.literal("reasoning"),
    summary: z.array(z.object({ type: z.literal("summary_text"), text })),
    content: z.array(reasoningText),
    encrypted_content: z.string().optional(),
    status: itemStatus.optional(),
  }),
  z.object({ id: z.string(), ...functionCall }),
  z.object({
    id: z.string(),
    type: z.literal("function_call_output"),
    call_id: z.string(),
    output: z.union([text, z.array(inputPart)]),
    status: itemStatus,
  }),
]);

export const responseAnswer = z.object({
  id: z.string(),
  object: z.literal("response"),
  status: z.enum(["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]),
  created_at: z.number().int().describe("seconds since 1970"),
  completed_at: z.number().int().nullable(),
  model: z.string(),
  output: z.array(outputItem),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
  usage: tokenUsage.nullable(),
  background: z.boolean(),
  previous_response_id: z.string().nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: count.nullable(),
  max_tool_calls: count.nullable(),
  metadata: z.record(z.string(), z.string()),
  parallel_tool_calls: z.boolean(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.object({ effort: z.enum(["low", "medium", "high"]), summary: z.null() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.literal("default"),
  system_fingerprint: z.string().optional(),
  store: z.boolean(),
  temperature: z.number(),
  text: z.object({ format: anything, verbosity: z.enum(["low", "medium", "high"]) }),
  tool_choice: z.union([z.string(), anything]),
  tools: z.array(anything),
  top_logprobs: count,
  top_p: z.number(),
  truncation: z.literal("disabled"),
  user: z.string().nullable(),
});

export const responseDeletedAnswer = z.object({ id: z.string(), object: z.literal("response"), deleted: z.literal(true) });
export const inputItemsAnswer = listAnswer(inputItem);

const numbered = { sequence_number: count };
const ofResponse = { ...numbered, response: responseAnswer };
const ofItem = { ...numbered, output_index: count, item: outputItem };
const place = { ...numbered, item_id: z.string(), output_index: count };
const placeInContent = { ...place, content_index: count };
const ofPart = { ...placeInContent, part: z.union([outputText, reasoningText]) };

/** What the data of an event of a response's stream is. */
export const responseEvent = z.discriminatedUnion("type", [
  z.object({
    type: z.enum([
      "response.created",
      "response.queued",
      "response.in_progress",
      "response.completed",
      "response.incomplete",
      "response.failed",
      "response.cancelled",
    ]),
    ...ofResponse,
  }),
  z.object({ type: z.enum(["response.output_item.added", "response.output_item.done"]), ...ofItem }),
  z.object({ type: z.enum(["response.content_part.added", "response.content_part.done"]), ...ofPart }),
  z.object({
    type: z.literal("response.output_text.delta"),
    ...placeInContent,
    delta: text,
    logprobs: z.array(tokenLogprobs),
  }),
  z.object({ type: z.literal("response.output_text.done"), ...placeInContent, text, logprobs: z.array(tokenLogprobs) }),
  z.object({ type: z.literal("response.reasoning_text.delta"), ...placeInContent, delta: text }),
  z.object({ type: z.literal("response.reasoning_text.done"), ...placeInContent, text }),
  z.object({ type: z.literal("response.function_call_arguments.delta"), ...place, delta: text }),
  z.object({ type: z.literal("response.function_call_arguments.done"), ...place, name: z.string(), arguments: text }),
  z.object({
    type: z.literal("error"),
    ...numbered,
    code: z.string().nullable(),
    message: z.string(),
    param: z.string().nullable(),
  }),
]);
