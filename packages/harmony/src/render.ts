import { developerText } from "./developer-text.js";
import { HarmonyError } from "./harmony-error.js";
import { type AssistantMessage, CHANNELS, type DeveloperMessage, type Message, type SystemMessage } from "./message.js";
import type { SpecialToken } from "./special-tokens.js";

/** A piece of a prompt: text to be tokenised as plain text, or one special token. Text is never read as markup. */
export type Segment = { readonly text: string } | { readonly special: SpecialToken };

export const DEFAULT_IDENTITY = "You are ChatGPT, a large language model trained by OpenAI.";
export const DEFAULT_KNOWLEDGE_CUTOFF = "2024-06";

export interface RenderOptions {
  /** Whether the prompt ends with `<|start|>assistant`, for the model to go on. Defaults to true. */
  readonly completion?: boolean;
  /** Whether to keep the thoughts that led to a final answer. Defaults to false, as the model was trained. */
  readonly keepAnalysis?: boolean;
}

/** What may stand in a header: a space would start the next part of it. */
const HEADER_WORD = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/;

/**
 * Renders a conversation as a prompt. Analysis that an answer on the final channel follows is left out; analysis
 * since the last answer (around tool calls) stays. Every message ends in `<|end|>`, or `<|call|>` for a call of a tool.
 * Source: the openai-harmony format guide.
 * @throws HarmonyError for a name, recipient or content type that is not one word of a header.
 */
export function renderConversation(messages: readonly Message[], options: RenderOptions = {}): Segment[] {
  const { completion = true, keepAnalysis = false } = options;
  const lastFinal = messages.findLastIndex((message) => message.role === "assistant" && message.channel === "final");
  const functionsExist = messages.some((message) => message.role === "developer" && (message.functions?.length ?? 0) > 0);
  const segments = messages.flatMap((message, index) => {
    const led = message.role === "assistant" && message.channel === "analysis" && index < lastFinal;
    return led && !keepAnalysis && !isCall(message)
      ? []
      : renderMessage(message, { field: `messages[${index}]`, functionsExist });
  });
  if (completion) segments.push({ special: "<|start|>" }, { text: "assistant" });
  return segments;
}

export interface RenderMessageOptions {
  /** Names the message in errors. */
  readonly field?: string;
  /** Whether a developer message of the conversation defines functions, which a system message then mentions. */
  readonly functionsExist?: boolean;
}

/** Renders one message. @throws HarmonyError as {@link renderConversation} does. */
export function renderMessage(message: Message, options: RenderMessageOptions = {}): Segment[] {
  const { field = "message", functionsExist = false } = options;
  const header = renderHeader(message, field);
  if (message.role === "developer") checkNames(message, field);
  const content = contentOf(message, functionsExist);
  return [
    { special: "<|start|>" },
    ...header,
    { special: "<|message|>" },
    ...(content === "" ? [] : [{ text: content }]),
    { special: message.role === "assistant" && isCall(message) ? "<|call|>" : "<|end|>" },
  ];
}

function renderHeader(message: Message, field: string): Segment[] {
  switch (message.role) {
    case "system":
    case "developer":
      return [{ text: message.role }];
    case "user": {
      if (message.name === undefined) return [{ text: "user" }];
      return [{ text: "user" }, { text: `:${headerWord(message.name, `${field}.name`)}` }];
    }
    case "assistant":
      return renderAssistantHeader(message, field);
    case "tool":
      return [
        { text: headerWord(message.name, `${field}.name`) },
        { text: " to=assistant" },
        { special: "<|channel|>" },
        { text: "commentary" },
      ];
  }
}

function renderAssistantHeader(message: AssistantMessage, field: string): Segment[] {
  const segments: Segment[] = [{ text: "assistant" }];
  if (message.recipient !== undefined) {
    segments.push({ text: ` to=${headerWord(message.recipient, `${field}.recipient`)}` });
  }
  segments.push({ special: "<|channel|>" }, { text: message.channel });
  if (message.contentType !== undefined) {
    const name = headerWord(message.contentType.name, `${field}.contentType.name`);
    if (message.contentType.constrained) segments.push({ text: " " }, { special: "<|constrain|>" }, { text: name });
    else segments.push({ text: ` ${name}` });
  }
  return segments;
}

function contentOf(message: Message, functionsExist: boolean): string {
  if (message.role === "system") return systemText(message, functionsExist);
  if (message.role === "developer") return developerText(message);
  return message.content;
}

function systemText(message: SystemMessage, functionsExist: boolean): string {
  const identity = [
    message.identity ?? DEFAULT_IDENTITY,
    `Knowledge cutoff: ${message.knowledgeCutoff ?? DEFAULT_KNOWLEDGE_CUTOFF}`,
    ...(message.currentDate === undefined ? [] : [`Current date: ${message.currentDate}`]),
  ].join("\n");
  const reasoning = `Reasoning: ${message.reasoningEffort ?? "medium"}`;
  const channels = (message.channels ?? CHANNELS).join(", ");
  const rule = `# Valid channels: ${channels}. Channel must be included for every message.`;
  const calls = functionsExist ? "\nCalls to these tools must go to the commentary channel: 'functions'." : "";
  return `${identity}\n\n${reasoning}\n\n${rule}${calls}`;
}

function isCall(message: AssistantMessage): boolean {
  return message.recipient !== undefined;
}

/** Names that calls or answers would carry in a header, and that stand on a line of their own in the prompt. */
function checkNames(message: DeveloperMessage, field: string): void {
  for (const [index, { name }] of (message.functions ?? []).entries()) headerWord(name, `${field}.functions[${index}].name`);
  for (const [index, { name }] of (message.responseFormats ?? []).entries()) {
    headerWord(name, `${field}.responseFormats[${index}].name`);
  }
}

function headerWord(word: string, field: string): string {
  if (HEADER_WORD.test(word)) return word;
  throw new HarmonyError(field, "expected 1 to 128 characters of A-Z a-z 0-9 _ . : - that begin with a letter, digit or _");
}
