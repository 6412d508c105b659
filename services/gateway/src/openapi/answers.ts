import { z } from "zod";

export const count = z.number().int().min(0);
const usage = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.object({ cached_tokens: count }),
  completion_tokens_details: z.object({ reasoning_tokens: count }),
});

/** Of every error, whatever its status. */
export const errorAnswer = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable().describe("the field at fault, as `messages[2].content`"),
    code: z.string().nullable(),
  }),
});

/** What chats and completions, in one piece and in chunks, begin with. */
const envelope = {
  id: z.string(),
  created: z.number().int().describe("seconds since 1970"),
  model: z.string(),
  system_fingerprint: z.string().optional(),
  service_tier: z.literal("default").optional(),
};
const stopReason = z
  .union([z.string(), z.number().int()])
  .nullable()
  .describe("the stop string or the stop token that the client gave and that ended the answer");
const tokenIds = z.array(count).optional().describe("with return_token_ids");

const chatToken = { token: z.string(), logprob: z.number(), bytes: z.array(z.number().int().min(0).max(255)).nullable() };
/** One token that was drawn, and the likeliest in its place. */
export const tokenLogprobs = z.object({ ...chatToken, top_logprobs: z.array(z.object(chatToken)) });
const chatLogprobs = z.object({ content: z.array(tokenLogprobs), refusal: z.null() }).nullable();
const reasoningFields = {
  reasoning: z.string().optional(),
  reasoning_content: z.string().optional().describe("the same as `reasoning`, by its other name"),
};
const chatFinishReason = z.enum(["stop", "length", "tool_calls"]);

export const chatAnswer = z.object({
  ...envelope,
  object: z.literal("chat.completion"),
  choices: z.array(
    z.object({
      index: count,
      message: z.object({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        refusal: z.null(),
        ...reasoningFields,
        tool_calls: z
          .array(
            z.object({
              id: z.string(),
              type: z.literal("function"),
              function: z.object({ name: z.string(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: chatLogprobs,
      finish_reason: chatFinishReason,
      stop_reason: stopReason,
      token_ids: tokenIds,
    }),
  ),
  usage,
});

export const chatChunk = z.object({
  ...envelope,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(
    z.object({
      index: count,
      delta: z.object({
        role: z.literal("assistant").optional(),
        content: z.string().optional(),
        ...reasoningFields,
        tool_calls: z
          .array(
            z.object({
              index: count,
              id: z.string().optional().describe("in the first delta of a call, with type and name"),
              type: z.literal("function").optional(),
              function: z.object({ name: z.string().optional(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: chatLogprobs,
      finish_reason: chatFinishReason.nullable(),
      stop_reason: stopReason.optional(),
      token_ids: tokenIds,
    }),
  ),
  usage: usage.nullable().optional().describe("with stream_options.include_usage: null but in the last chunk"),
});

const completionChoice = {
  index: count,
  text: z.string(),
  logprobs: z
    .object({
      tokens: z.array(z.string()),
      token_logprobs: z.array(z.number().nullable()),
      top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
      text_offset: z.array(count),
    })
    .nullable(),
  stop_reason: stopReason,
  token_ids: tokenIds,
  prompt_token_ids: tokenIds,
};
const completionFinishReason = z.enum(["stop", "length"]);

export const completionAnswer = z.object({
  ...envelope,
  object: z.literal("text_completion"),
  choices: z.array(z.object({ ...completionChoice, finish_reason: completionFinishReason })),
  usage,
});

export const completionChunk = z.object({
  ...envelope,
  object: z.literal("text_completion"),
  choices: z.array(z.object({ ...completionChoice, finish_reason: completionFinishReason.nullable() })),
  usage: usage.nullable().optional().describe("with stream_options.include_usage: null but in the last chunk"),
});

export const modelAnswer = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.number().int(),
  owned_by: z.string(),
  max_model_len: count.describe("tokens that a prompt and its answer may have together"),
  revision: z.string().optional(),
  checksum: z.string().optional(),
});

export const modelsAnswer = z.object({ object: z.literal("list"), data: z.array(modelAnswer) });

export const tokenizeAnswer = z.object({
  count,
  max_model_len: count,
  tokens: z.array(count),
  token_strs: z.array(z.string()).nullable(),
});

export const detokenizeAnswer = z.object({ prompt: z.string() });
export const loadAnswer = z.object({ server_load: count.describe("API requests that this gateway is answering") });
export const healthAnswer = z.object({ status: z.literal("ok") });
export const readyAnswer = z.object({ status: z.enum(["ready", "not ready"]), missing: z.array(z.string()) });
