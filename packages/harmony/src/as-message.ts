import type { AssistantMessage, MessageRoute, ToolMessage, UserMessage } from "./message.js";
import type { ParsedMessage } from "./parser.js";

/**
 * A parsed message as one of a conversation, to be rendered again in the next prompt, where `<|return|>` becomes `<|end|>`.
 * Undefined for system and developer messages, whose parts are not read back from their text.
 */
export function asMessage(parsed: ParsedMessage): UserMessage | AssistantMessage | ToolMessage | undefined {
  const { role, name, recipient, channel, contentType, content } = parsed;
  const named = name === undefined ? {} : { name };
  const route: MessageRoute = {
    ...(recipient === undefined ? {} : { recipient }),
    ...(channel === undefined ? {} : { channel }),
    ...(contentType === undefined ? {} : { contentType }),
  };
  switch (role) {
    case "user":
      return { role, ...named, ...route, content };
    case "assistant":
      return { role, ...named, ...route, channel: channel ?? "final", content };
    case "tool":
      return name === undefined ? undefined : { role, name, ...route, content };
    default:
      return undefined;
  }
}
