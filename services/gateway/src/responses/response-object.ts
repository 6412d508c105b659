import type { ChatLogprobs } from "../openai/logprobs.js";

/** Shapes of the Responses API, as OpenAI's client has them. */
export type ResponseStatus = "queued" | "in_progress" | "completed" | "incomplete" | "failed" | "cancelled";
export type ItemStatus = "in_progress" | "completed" | "incomplete";
export type ResponseLogprobs = ChatLogprobs["content"];

export interface OutputText {
  readonly type: "output_text";
  readonly text: string;
  readonly annotations: readonly never[];
  readonly logprobs: ResponseLogprobs;
}

export interface ReasoningText {
  readonly type: "reasoning_text";
  readonly text: string;
}

export interface MessageItem {
  readonly id: string;
  readonly type: "message";
  readonly role: "assistant";
  readonly status: ItemStatus;
  readonly content: readonly OutputText[];
}

export interface ReasoningItem {
  readonly id: string;
  readonly type: "reasoning";
  /** Always empty: the thoughts themselves are there. */
  readonly summary: readonly never[];
  readonly content: readonly ReasoningText[];
  readonly encrypted_content?: string;
  readonly status: ItemStatus;
}

export interface FunctionCallItem {
  readonly id: string;
  readonly type: "function_call";
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
  readonly status: ItemStatus;
}

export type OutputItem = MessageItem | ReasoningItem | FunctionCallItem;

export interface ResponseUsage {
  readonly input_tokens: number;
  readonly input_tokens_details: { readonly cached_tokens: number };
  readonly output_tokens: number;
  readonly output_tokens_details: { readonly reasoning_tokens: number };
  readonly total_tokens: number;
}

/** What is known of a response from its beginning. */
export interface ResponseHead {
  readonly id: string;
  readonly object: "response";
  readonly created_at: number;
  readonly model: string;
  readonly background: boolean;
  readonly previous_response_id: string | null;
  /** What the client asked for, as it is shown again. */
  readonly [field: string]: unknown;
}

/** What its end adds. */
export interface ResponseEnd {
  readonly status: Exclude<ResponseStatus, "queued" | "in_progress">;
  /** Unix time in seconds; null unless it is complete. */
  readonly completed_at: number | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly incomplete_details: { readonly reason: "max_output_tokens" } | null;
  readonly output: readonly OutputItem[];
  readonly usage: ResponseUsage | null;
}

export type ResponseObject = ResponseHead & (ResponseEnd | (Omit<ResponseEnd, "status"> & { readonly status: ResponseStatus }));

/** A response that has not ended. */
export function openResponse(head: ResponseHead, status: "queued" | "in_progress"): ResponseObject {
  return { ...head, status, completed_at: null, error: null, incomplete_details: null, output: [], usage: null };
}

/** An event of a stream, before it is numbered. */
export interface EventBody {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface ResponseEvent extends EventBody {
  readonly sequence_number: number;
}
