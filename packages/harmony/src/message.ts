import type { JsonSchema } from "./typescript-type.js";

/** The channels of an assistant message: thoughts, tool calls and their preambles, the answer. */
export const CHANNELS = ["analysis", "commentary", "final"] as const;
export type Channel = (typeof CHANNELS)[number];

export const REASONING_EFFORTS = ["low", "medium", "high"] as const;
export type ReasoningEffort = (typeof REASONING_EFFORTS)[number];

/** The type of a message's content: `<|constrain|>json`, or a bare word such as ` code`. */
export interface ContentType {
  readonly name: string;
  readonly constrained: boolean;
}

/** What the model is told about itself. It is not the user's system prompt: that is {@link DeveloperMessage}. */
export interface SystemMessage {
  readonly role: "system";
  /** Defaults to the identity that the model was trained with; `false` leaves the line out. */
  readonly identity?: string | false;
  /** `yyyy-mm`; defaults to `2024-06`; `false` leaves the line out. */
  readonly knowledgeCutoff?: string | false;
  /** `yyyy-mm-dd`; the line is left out when absent. */
  readonly currentDate?: string;
  /** Defaults to `medium`; `false` leaves the line out. */
  readonly reasoningEffort?: ReasoningEffort | false;
  /** Built-in tools, such as `BROWSER_TOOL` and `PYTHON_TOOL`; functions of an API belong to the developer message. */
  readonly tools?: readonly ToolNamespace[];
  /** Defaults to all three; the section is left out when there are none. */
  readonly channels?: readonly Channel[];
  /** Whether the model is told that every message needs a channel. Defaults to true. */
  readonly channelRequired?: boolean;
}

/** A function that the model may call, as `<namespace>.<name>`; `functions.<name>` on the commentary channel for an API's own. */
export interface FunctionDefinition {
  readonly name: string;
  readonly description?: string;
  /** The schema of the arguments' object; absent for a function that takes none. */
  readonly parameters?: JsonSchema;
}

/** Tools under one name: functions, called as `<name>.<function>`, or a tool without any, called as `<name>`. */
export interface ToolNamespace {
  readonly name: string;
  readonly description?: string;
  readonly functions: readonly FunctionDefinition[];
}

/** What the answer should look like. It asks the model; nothing here holds it to that. */
export interface ResponseFormat {
  readonly name: string;
  readonly description?: string;
  readonly schema: JsonSchema;
}

/** What an API calls the system prompt, its tools and its response format. */
export interface DeveloperMessage {
  readonly role: "developer";
  readonly instructions?: string;
  /** The namespace `functions`; none when empty. */
  readonly functions?: readonly FunctionDefinition[];
  /** Further namespaces. */
  readonly tools?: readonly ToolNamespace[];
  readonly responseFormats?: readonly ResponseFormat[];
}

/** Parts of a header that any message between participants may carry. */
export interface MessageRoute {
  /** Whom the message is for; `all`, which is everybody, is not written out. */
  readonly recipient?: string;
  readonly channel?: Channel;
  readonly contentType?: ContentType;
}

export interface UserMessage extends MessageRoute {
  readonly role: "user";
  readonly name?: string;
  readonly content: string;
}

export interface AssistantMessage extends MessageRoute {
  readonly role: "assistant";
  readonly name?: string;
  readonly channel: Channel;
  /** The tool that is called, such as `functions.get_weather`; absent for a message to the user. */
  readonly recipient?: string;
  readonly content: string;
}

/** The result of a tool call. */
export interface ToolMessage extends MessageRoute {
  readonly role: "tool";
  /** The tool that answers, such as `functions.get_weather`. */
  readonly name: string;
  /** Defaults to `assistant`. */
  readonly recipient?: string;
  /** Defaults to `commentary`; built-in tools are called, and answer, on `analysis`. */
  readonly channel?: Channel;
  readonly content: string;
}

export type Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage;
