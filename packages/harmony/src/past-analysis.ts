import type { Message } from "./message.js";

/**
 * What openai-harmony renders of a conversation unless told otherwise: when the assistant's last message is a final answer, the
 * analysis before the first final answer of the conversation is dropped; otherwise all of it stays.
 * Source: `render_conversation_into` of openai-harmony 0.0.8.
 */
export function keptByDefault(messages: readonly Message[]): (message: Message, index: number) => boolean {
  const lastOfAssistant = messages.findLast((message) => message.role === "assistant");
  if (lastOfAssistant?.channel !== "final") return () => true;
  const firstFinal = messages.findIndex((message) => channelOf(message) === "final");
  return (message, index) => index >= firstFinal || channelOf(message) !== "analysis";
}

/**
 * Drops the thoughts that led to any final answer, and keeps those since the last one, which led to the calls of the current turn:
 * what the format guide and the chat template of gpt-oss ask for. Pass its result to `renderConversation` in chats of several turns,
 * where the default drops the thoughts of the first turn only, and none while calls are under way. Calls on the analysis channel stay.
 */
export function withoutPastAnalysis(messages: readonly Message[]): Message[] {
  const lastFinal = messages.findLastIndex((message) => channelOf(message) === "final");
  return messages.filter((message, index) => index > lastFinal || !isThought(message));
}

function isThought(message: Message): boolean {
  return message.role === "assistant" && message.channel === "analysis" && message.recipient === undefined;
}

function channelOf(message: Message): string | undefined {
  return message.role === "system" || message.role === "developer" ? undefined : message.channel;
}
