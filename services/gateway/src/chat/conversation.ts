import {
  type DeveloperMessage,
  type FunctionDefinition,
  type Message,
  type ReasoningEffort,
  type ResponseFormat,
  withoutPastAnalysis,
} from "@moiety/harmony";
import type { ChatMessage } from "../openai/chat-request.js";
import { invalidField } from "../openai/errors.js";

export interface ConversationOptions {
  readonly reasoningEffort?: ReasoningEffort;
  /** `yyyy-mm-dd`. */
  readonly currentDate: string;
  /** What the model may call. */
  readonly functions?: readonly FunctionDefinition[];
  readonly responseFormat?: ResponseFormat;
}

/**
 * A chat in harmony's terms. Functions and the response format go with the instructions that the chat begins with, if it does.
 * Thoughts of past turns are left out, as the format asks for, and those of the current one, which led to its calls, are kept.
 * @throws AppError INVALID_ARGUMENT naming a tool message that answers no call.
 */
export function toConversation(messages: readonly ChatMessage[], options: ConversationOptions): Message[] {
  const callNames = new Map<string, string>();
  const { currentDate, reasoningEffort, functions = [], responseFormat } = options;
  const conversation: Message[] = [{ role: "system", currentDate, ...(reasoningEffort ? { reasoningEffort } : {}) }];
  if (functions.length > 0 || responseFormat) {
    conversation.push({ role: "developer", functions, responseFormats: responseFormat ? [responseFormat] : [] });
  }
  for (const [index, message] of messages.entries()) {
    if (message.role !== "tool") {
      conversation.push(...toMessages(message, callNames));
      continue;
    }
    const name = callNames.get(message.tool_call_id);
    if (name === undefined)
      throw invalidField(`messages[${index}].tool_call_id`, "expected the id of a tool call in an earlier message");
    conversation.push({ role: "tool", name, content: message.content });
  }
  return withoutPastAnalysis(joinInstructions(conversation));
}

function toMessages(message: Exclude<ChatMessage, { role: "tool" }>, callNames: Map<string, string>): Message[] {
  switch (message.role) {
    case "system":
    case "developer":
      return [{ role: "developer", instructions: message.content }];
    case "user":
      return [{ role: "user", content: message.content, ...(message.name ? { name: message.name } : {}) }];
    case "assistant": {
      const reasoning = message.reasoning ?? message.reasoning_content ?? "";
      const calls = message.tool_calls ?? [];
      const content = message.content ?? "";
      return [
        ...(reasoning === "" ? [] : [{ role: "assistant", channel: "analysis", content: reasoning } as const]),
        ...(content === "" && calls.length > 0
          ? []
          : [{ role: "assistant", channel: calls.length > 0 ? "commentary" : "final", content } as const]),
        ...calls.map((call): Message => {
          const recipient = `functions.${call.function.name}`;
          callNames.set(call.id, recipient);
          const contentType = { name: "json", constrained: true };
          return { role: "assistant", channel: "commentary", recipient, contentType, content: call.function.arguments };
        }),
      ];
    }
  }
}

/** Instructions that follow one another are one message, as the model was trained. */
function joinInstructions(messages: readonly Message[]): Message[] {
  const joined: Message[] = [];
  for (const message of messages) {
    const last = joined.at(-1);
    if (message.role === "developer" && last?.role === "developer") {
      joined[joined.length - 1] = joinedWith(last, message);
    } else joined.push(message);
  }
  return joined;
}

function joinedWith(first: DeveloperMessage, second: DeveloperMessage): DeveloperMessage {
  const instructions = [first.instructions, second.instructions].filter((text) => text !== undefined);
  return { ...first, ...second, ...(instructions.length > 0 ? { instructions: instructions.join("\n\n") } : {}) };
}
