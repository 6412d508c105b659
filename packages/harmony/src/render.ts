import { checkDeclarations, headerWord } from "./conversation-checks.js";
import { developerText } from "./developer-text.js";
import type { AssistantMessage, Message, ToolMessage, UserMessage } from "./message.js";
import { keptByDefault } from "./past-analysis.js";
import type { SpecialToken } from "./special-tokens.js";
import { systemText } from "./system-text.js";

/** A piece of a prompt: text to be tokenised as plain text, or one special token. Text is never read as markup. */
export type Segment = { readonly text: string } | { readonly special: SpecialToken };

export interface RenderOptions {
  /** Whether the prompt ends with `<|start|>assistant`, for the model to go on. Defaults to true. */
  readonly completion?: boolean;
  /** Whether to render analysis whatever follows it. Defaults to false. */
  readonly keepAnalysis?: boolean;
}

/**
 * Renders a conversation as a prompt, token for token as openai-harmony does once each segment is tokenised by itself. When the
 * assistant's last message is a final answer, analysis before the first one is left out; `withoutPastAnalysis` leaves out more.
 * Every message ends in `<|end|>`, or `<|call|>` for a call of a tool.
 * Source: `render_conversation_for_completion` of openai-harmony 0.0.8.
 * @throws HarmonyError for a name, recipient or content type that is not one word of a header, and for schemas that are too deep.
 */
export function renderConversation(messages: readonly Message[], options: RenderOptions = {}): Segment[] {
  const { completion = true, keepAnalysis = false } = options;
  const isKept = keepAnalysis ? () => true : keptByDefault(messages);
  const functionsExist = messages.some(definesFunctions);
  const segments = messages.flatMap((message, index) =>
    isKept(message, index) ? renderMessage(message, { field: `messages[${index}]`, functionsExist }) : [],
  );
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
  checkDeclarations(message, field);
  const content = contentOf(message, functionsExist);
  const isCall = message.role === "assistant" && message.recipient !== undefined;
  return [
    { special: "<|start|>" },
    ...header,
    { special: "<|message|>" },
    ...(content === "" ? [] : [{ text: content }]),
    { special: isCall ? "<|call|>" : "<|end|>" },
  ];
}

function renderHeader(message: Message, field: string): Segment[] {
  switch (message.role) {
    case "system":
    case "developer":
      return [{ text: message.role }];
    case "user":
    case "assistant": {
      const name = message.name === undefined ? [] : [{ text: `:${headerWord(message.name, `${field}.name`)}` }];
      return [{ text: message.role }, ...name, ...renderRoute(message, field)];
    }
    case "tool": {
      const name = { text: headerWord(message.name, `${field}.name`) };
      return [name, ...renderRoute({ ...message, ...routeOfAnswer(message) }, field)];
    }
  }
}

function routeOfAnswer({ recipient = "assistant", channel = "commentary" }: ToolMessage): Partial<ToolMessage> {
  return { recipient, channel };
}

function renderRoute(message: UserMessage | AssistantMessage | ToolMessage, field: string): Segment[] {
  const { recipient, channel, contentType } = message;
  const segments: Segment[] = [];
  if (recipient !== undefined && recipient !== "all") {
    segments.push({ text: ` to=${headerWord(recipient, `${field}.recipient`)}` });
  }
  if (channel !== undefined) segments.push({ special: "<|channel|>" }, { text: channel });
  if (contentType !== undefined) {
    const name = headerWord(contentType.name, `${field}.contentType.name`);
    if (contentType.constrained) segments.push({ text: " " }, { special: "<|constrain|>" }, { text: name });
    else segments.push({ text: ` ${name}` });
  }
  return segments;
}

function contentOf(message: Message, functionsExist: boolean): string {
  if (message.role === "system") return systemText(message, functionsExist);
  if (message.role === "developer") return developerText(message);
  return message.content;
}

/** Functions under another name, and those of a system message, are not what the system message speaks of. */
function definesFunctions(message: Message): boolean {
  if (message.role !== "developer") return false;
  const named = message.tools?.find(({ name }) => name === "functions")?.functions ?? [];
  return (message.functions?.length ?? 0) + named.length > 0;
}
