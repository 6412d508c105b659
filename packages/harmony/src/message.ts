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
  /** Defaults to the identity that the model was trained with. */
  readonly identity?: string;
  /** `yyyy-mm`; defaults to `2024-06`. */
  readonly knowledgeCutoff?: string;
  /** `yyyy-mm-dd`; the line is left out when absent. */
  readonly currentDate?: string;
  /** Defaults to `medium`. */
  readonly reasoningEffort?: ReasoningEffort;
  /** Defaults to all three. */
  readonly channels?: readonly Channel[];
}

/** A function that the model may call, as `functions.<name>` on the commentary channel. */
export interface FunctionDefinition {
  readonly name: string;
  readonly description?: string;
  /** The schema of the arguments' object; absent for a function that takes none. */
  readonly parameters?: JsonSchema;
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
  readonly functions?: readonly FunctionDefinition[];
  readonly responseFormats?: readonly ResponseFormat[];
}

export interface UserMessage {
  readonly role: "user";
  readonly name?: string;
  readonly content: string;
}

export interface AssistantMessage {
  readonly role: "assistant";
  readonly channel: Channel;
  /** The tool that is called, such as `functions.get_weather`; absent for a message to the user. */
  readonly recipient?: string;
  readonly contentType?: ContentType;
  readonly content: string;
}

/** The result of a tool call. */
export interface ToolMessage {
  readonly role: "tool";
  /** The tool that answers, such as `functions.get_weather`. */
  readonly name: string;
  readonly content: string;
}

export type Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage;
