import { AppError } from "@moiety/core";
import { type ChatRequest, chatRequestSchema } from "../openai/chat-request.js";
import { invalidField } from "../openai/errors.js";
import { generationFields, parseBody } from "../openai/request-fields.js";
import type { ConversationItem } from "./input-items.js";
import type { ResponseRequest } from "./response-request.js";

/** Items that belong together, and how a client would name the `index`-th. */
export interface ItemSection {
  readonly items: readonly ConversationItem[];
  readonly nameOf: (index: number) => string;
}

interface AssistantDraft {
  role: "assistant";
  content: string;
  reasoning: string;
  tool_calls: { id: string; type: "function"; function: { name: string; arguments: string } }[];
}

interface PlacedMessage {
  readonly message: object;
  /** The item that it came from, and those of its calls. */
  readonly origin: string;
  readonly calls: readonly string[];
}

const textOf = (parts: readonly { readonly text?: string; readonly refusal?: string }[]): string =>
  parts.map((part) => part.text ?? part.refusal ?? "").join("");

/** Gathers items into messages. What an assistant does in one go, thoughts, text and calls, is one message, as a chat has it. */
class MessageGatherer {
  readonly messages: PlacedMessage[] = [];
  #open: { draft: AssistantDraft; origin: string; calls: string[]; last: string } | undefined;

  add(item: ConversationItem, origin: string): void {
    if (item.type === "function_call_output") {
      const content = typeof item.output === "string" ? item.output : textOf(item.output);
      this.#put({ role: "tool", tool_call_id: item.call_id, content }, origin);
    } else if (item.type === "message" && item.role !== "assistant") {
      this.#put({ role: item.role, content: textOf(item.content) }, origin);
    } else this.#addToAssistant(item, origin);
  }

  /** What comes next begins a message of its own. */
  close(): void {
    if (!this.#open) return;
    const { draft, origin, calls } = this.#open;
    this.#open = undefined;
    const { reasoning, tool_calls, ...rest } = draft;
    const message = { ...rest, ...(reasoning ? { reasoning } : {}), ...(tool_calls.length > 0 ? { tool_calls } : {}) };
    this.messages.push({ message, origin, calls });
  }

  #put(message: object, origin: string): void {
    this.close();
    this.messages.push({ message, origin, calls: [] });
  }

  #addToAssistant(item: Exclude<ConversationItem, { type: "function_call_output" }>, origin: string): void {
    if (item.type === "message" && this.#open?.last === "message") this.close();
    this.#open ??= {
      draft: { role: "assistant", content: "", reasoning: "", tool_calls: [] },
      origin,
      calls: [],
      last: item.type,
    };
    const { draft, calls } = this.#open;
    this.#open.last = item.type;
    if (item.type === "reasoning") draft.reasoning += textOf(item.content);
    else if (item.type === "message") draft.content += textOf(item.content);
    else {
      draft.tool_calls.push({ id: item.call_id, type: "function", function: { name: item.name, arguments: item.arguments } });
      calls.push(origin);
    }
  }
}

const { n: _n, stream: _stream, stream_options: _options, return_token_ids: _ids, ...sharedFields } = generationFields;

/** Fields that mean the same here as in a chat. */
export { sharedFields };

/** A function as chats spell it, under a name of its own; whatever is no function is left for the chat's schema to refuse. */
function chatTool(tool: Readonly<Record<string, unknown>>): object {
  if (tool["type"] !== "function") return tool;
  const { type, ...definition } = tool;
  return { type, function: definition };
}

function chatToolChoice(choice: ResponseRequest["tool_choice"]): unknown {
  if (typeof choice !== "object") return choice;
  if (choice["type"] === "function") return chatTool(choice);
  if (choice["type"] !== "allowed_tools") return choice;
  const { type, mode, tools } = choice;
  const allowed = Array.isArray(tools)
    ? tools.map((tool: unknown) => (typeof tool === "object" && tool !== null ? chatTool(tool as Record<string, unknown>) : tool))
    : tools;
  return { type, allowed_tools: { mode, tools: allowed } };
}

function chatFormat(format: Readonly<Record<string, unknown>> | null | undefined): object | undefined {
  if (!format) return undefined;
  if (format["type"] !== "json_schema") return format;
  const { type, ...definition } = format;
  return { type, json_schema: definition };
}

function chatBody(raw: Readonly<Record<string, unknown>>, body: ResponseRequest, messages: readonly object[]): object {
  const logprobs = body.include?.includes("message.output_text.logprobs") === true;
  const spelled = {
    messages,
    max_completion_tokens: body.max_output_tokens,
    reasoning_effort: body.reasoning?.effort,
    tools: body.tools?.map(chatTool),
    tool_choice: chatToolChoice(body.tool_choice),
    parallel_tool_calls: raw["parallel_tool_calls"],
    response_format: chatFormat(body.text?.format),
    ...(logprobs ? { logprobs, top_logprobs: body.top_logprobs } : {}),
  };
  const shared = Object.keys(sharedFields).map((field) => [field, raw[field]] as const);
  const all = [...shared, ...Object.entries(spelled)];
  return Object.fromEntries(all.filter(([, value]) => value !== undefined && value !== null));
}

const RENAMED: readonly (readonly [from: RegExp, to: string])[] = [
  [/^response_format\.json_schema/, "text.format"],
  [/^response_format/, "text.format"],
  [/^(tools\[\d+\])\.function/, "$1"],
  [/^(tool_choice)\.allowed_tools(\.tools\[\d+\])\.function/, "$1$2"],
  [/^(tool_choice)\.(?:allowed_tools|function)/, "$1"],
  [/^(?:max_completion_tokens|max_tokens)/, "max_output_tokens"],
  [/^reasoning_effort/, "reasoning.effort"],
  [/^logprobs/, "include"],
];

/** What a client of this endpoint calls a field of the chat that its request became. */
function renamed(param: string, messages: readonly PlacedMessage[]): string {
  const [, number, rest = ""] = /^messages\[(\d+)\](.*)$/.exec(param) ?? [];
  if (number === undefined) {
    if (param === "messages") return "input";
    const rule = RENAMED.find(([from]) => from.test(param));
    return rule ? param.replace(rule[0], rule[1]) : param;
  }
  const placed = messages[Number(number)];
  const [, call, field = ""] = /^\.tool_calls\[(\d+)\](?:\.function)?(.*)$/.exec(rest) ?? [];
  if (call !== undefined) return (placed?.calls[Number(call)] ?? "input") + field.replace(/^\.id$/, ".call_id");
  return (placed?.origin ?? "input") + rest.replace(/^\.tool_call_id$/, ".call_id");
}

/** A chat that is asked for in the terms of `/v1/responses`. */
export interface ResponseChat {
  readonly chat: ChatRequest;
  /** Does `work` and lets what it throws name the client's own fields. */
  readonly named: <T>(work: () => Promise<T>) => Promise<T>;
}

/**
 * The chat that a request amounts to, so that it is checked, rendered and sampled as any chat.
 * @throws AppError INVALID_ARGUMENT naming the field at fault as the client spelled it.
 */
export async function toChat(
  raw: Readonly<Record<string, unknown>>,
  body: ResponseRequest,
  sections: readonly ItemSection[],
): Promise<ResponseChat> {
  const gatherer = new MessageGatherer();
  if (body.instructions) {
    gatherer.messages.push({ message: { role: "system", content: body.instructions }, origin: "instructions", calls: [] });
  }
  for (const { items, nameOf } of sections) {
    for (const [index, item] of items.entries()) gatherer.add(item, nameOf(index));
    gatherer.close();
  }
  const { messages } = gatherer;
  const named: ResponseChat["named"] = async (work) => {
    try {
      return await work();
    } catch (error) {
      const fault = AppError.from(error);
      const { param, openaiCode } = fault.details;
      if (fault.code !== "INVALID_ARGUMENT" || typeof param !== "string") throw error;
      const message = fault.message.startsWith(`${param}: `) ? fault.message.slice(param.length + 2) : fault.message;
      throw invalidField(renamed(param, messages), message, typeof openaiCode === "string" ? openaiCode : undefined);
    }
  };
  const chat = chatBody(
    raw,
    body,
    messages.map(({ message }) => message),
  );
  return { chat: await named(async () => parseBody(chatRequestSchema, chat)), named };
}
