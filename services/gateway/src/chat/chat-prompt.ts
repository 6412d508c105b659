import type { Clock } from "@moiety/core";
import { type FunctionDefinition, HarmonyError, type ResponseFormat, renderConversation } from "@moiety/harmony";
import type { Tokenizer } from "@moiety/model";
import type { ServedModel } from "../model/served-model.js";
import type { ChatPromptFields } from "../openai/chat-request.js";
import { invalidField } from "../openai/errors.js";
import { toConversation } from "./conversation.js";

export interface ChatPromptOptions {
  /** Whether the prompt ends where the assistant is to go on. Default true. */
  readonly openAnswer?: boolean;
}

/** The tokens that a chat becomes. @throws AppError INVALID_ARGUMENT naming the field at fault. */
export async function chatPrompt(
  body: ChatPromptFields,
  model: Pick<ServedModel, "tokenizer" | "harmony">,
  clock: Clock,
  { openAnswer = true }: ChatPromptOptions = {},
): Promise<Int32Array> {
  const { tokenizer } = model;
  if (!tokenizer) throw invalidField("messages", "this model has no tokenizer: send token ids to /v1/completions");
  if (model.harmony) return harmonyPrompt(body, tokenizer, { clock, openAnswer });
  if (functionsOf(body).length > 0) throw invalidField("tools", "this model's tokenizer has no markup for calls");
  if (responseFormatOf(body)) throw invalidField("response_format", "this model's tokenizer has no markup for formats");
  return tokenizer.encode(plainTemplate(body, openAnswer), { allowSpecial: false });
}

async function harmonyPrompt(
  body: ChatPromptFields,
  tokenizer: Tokenizer,
  { clock, openAnswer }: { readonly clock: Clock; readonly openAnswer: boolean },
): Promise<Int32Array> {
  const responseFormat = responseFormatOf(body);
  const conversation = toConversation(body.messages, {
    currentDate: new Date(clock.nowMs()).toISOString().slice(0, 10),
    ...(body.reasoning_effort ? { reasoningEffort: body.reasoning_effort } : {}),
    functions: functionsOf(body),
    ...(responseFormat ? { responseFormat } : {}),
  });
  return tokenizer.encodeParts(
    rendered(conversation, openAnswer).map((segment) =>
      "text" in segment ? segment.text : (tokenizer.specialTokens.get(segment.special) ?? 0),
    ),
  );
}

function functionsOf(body: ChatPromptFields): readonly FunctionDefinition[] {
  if (body.tool_choice === "none") return [];
  return (body.tools ?? []).map(({ function: { name, description, parameters } }) => ({
    name,
    ...(description ? { description } : {}),
    ...(parameters ? { parameters } : {}),
  }));
}

function responseFormatOf({ response_format: format }: ChatPromptFields): ResponseFormat | undefined {
  switch (format?.type) {
    case undefined:
    case "text":
      return undefined;
    case "json_object":
      return { name: "json_object", schema: { type: "object" } };
    case "json_schema": {
      const { name, description, schema } = format.json_schema;
      return { name, ...(description ? { description } : {}), schema: schema ?? {} };
    }
  }
}

function rendered(
  conversation: Parameters<typeof renderConversation>[0],
  completion: boolean,
): ReturnType<typeof renderConversation> {
  try {
    return renderConversation(conversation, { completion });
  } catch (error) {
    if (error instanceof HarmonyError) throw invalidField("messages", error.message);
    throw error;
  }
}

/** For checkpoints whose tokenizer has no markup: each message after its role. */
function plainTemplate(body: ChatPromptFields, openAnswer: boolean): string {
  const lines = body.messages.map((message) => `${message.role}: ${message.content ?? ""}\n\n`);
  return `${lines.join("")}${openAnswer ? "assistant:" : ""}`;
}
