import { z } from "zod";
import { chatPrompt } from "../chat/chat-prompt.js";
import type { GatewayContext } from "../gateway-context.js";
import { chatPromptFields } from "./chat-request.js";
import { checkPromptTokens } from "./completion-request.js";
import { invalidField } from "./errors.js";
import { checkModel } from "./models.js";
import { refusedChatFields } from "./refused-fields.js";
import { parseBody, tokenIdSchema } from "./request-fields.js";

const commonFields = {
  model: z.string().max(256).optional(),
  /** Accepted for vLLM's clients: the vocabulary of gpt-oss adds no tokens of its own. */
  add_special_tokens: z.boolean().optional(),
  return_token_strs: z.boolean().optional(),
};

export const tokenizeTextSchema = z.object({
  ...commonFields,
  prompt: z.string({ error: "expected a text, or messages" }).max(4_194_304),
});
const { chat_template, continue_final_message } = refusedChatFields;
export const tokenizeChatSchema = z.object({
  ...commonFields,
  ...chatPromptFields,
  add_generation_prompt: z.boolean().optional(),
  chat_template,
  continue_final_message,
  prompt: z.undefined({ error: "expected a prompt or messages, not both" }).optional(),
});
export const detokenizeRequestSchema = z.object({ model: commonFields.model, tokens: z.array(tokenIdSchema).max(2_000_000) });

/** What a text or a chat becomes. */
export interface Tokenized {
  readonly count: number;
  readonly max_model_len: number;
  readonly tokens: readonly number[];
  /** Each token's text, with U+FFFD where it is not a whole character; null when it was not asked for. */
  readonly token_strs: readonly string[] | null;
}

/** `POST /tokenize`: the tokens that a completion or a chat of the same body would be prompted with. @throws AppError. */
export async function tokenize(context: GatewayContext, body: unknown): Promise<Tokenized> {
  const isChat = ((body as { messages?: unknown }).messages ?? undefined) !== undefined;
  const { tokens, asked } = isChat ? await chatTokens(context, body) : await textTokens(context, body);
  return {
    count: tokens.length,
    max_model_len: context.workers.contextTokens,
    tokens: [...tokens],
    token_strs: asked.return_token_strs ? Array.from(tokens, (token) => context.names.text(token)) : null,
  };
}

async function textTokens({ model }: GatewayContext, body: unknown) {
  const asked = parseBody(tokenizeTextSchema, body);
  checkModel(model, asked.model);
  if (!model.tokenizer) throw invalidField("prompt", "this model has no tokenizer");
  return { asked, tokens: await model.tokenizer.encode(asked.prompt, { allowSpecial: true }) };
}

async function chatTokens({ model, clock }: GatewayContext, body: unknown) {
  const asked = parseBody(tokenizeChatSchema, body);
  checkModel(model, asked.model);
  return { asked, tokens: await chatPrompt(asked, model, clock, { openAnswer: asked.add_generation_prompt !== false }) };
}

/** `POST /detokenize`. Special tokens come as they are spelled. @throws AppError INVALID_ARGUMENT. */
export function detokenize({ model }: GatewayContext, body: unknown): { readonly prompt: string } {
  const { tokens, model: asked } = parseBody(detokenizeRequestSchema, body);
  checkModel(model, asked);
  if (!model.tokenizer) throw invalidField("tokens", "this model has no tokenizer");
  if (tokens.length > 0) checkPromptTokens(tokens, model.config.vocabSize, "tokens");
  return { prompt: model.tokenizer.decode(tokens) };
}
