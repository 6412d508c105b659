import { createHash } from "node:crypto";
import type { ChoiceEnd, ChoiceEvent, WholeChoice } from "../generation/choice.js";
import type { CallDelta, ChoiceDelta, ContentToken } from "../generation/choice-assembler.js";
import type { Chunk } from "./answer.js";
import { type ChatLogprobs, chatLogprobs, type TokenNames } from "./logprobs.js";
import type { Signature } from "./models.js";
import type { Usage } from "./usage.js";

export interface ChatShape {
  readonly id: string;
  readonly createdAtS: number;
  readonly model: string;
  readonly signature?: Signature;
  readonly names: TokenNames;
  /** How many alternatives go with each token; absent: no log-probabilities. */
  readonly topLogprobs: number | undefined;
  readonly includeReasoning: boolean;
  readonly returnTokenIds: boolean;
}

const envelope = (shape: ChatShape, object: string) => ({
  id: shape.id,
  object,
  created: shape.createdAtS,
  model: shape.model,
  ...shape.signature,
});

/** Both names that clients know the thoughts by. */
function reasoningFields(shape: ChatShape, reasoning: string): { reasoning?: string; reasoning_content?: string } {
  return shape.includeReasoning && reasoning !== "" ? { reasoning, reasoning_content: reasoning } : {};
}

function logprobsOf(shape: ChatShape, tokens: readonly ContentToken[]): ChatLogprobs | null {
  return shape.topLogprobs === undefined ? null : chatLogprobs(tokens, shape.names, shape.topLogprobs);
}

/** The same whenever the same request is answered: 96 bits of SHA-256 over the request's id, the choice and the call. */
function callId(shape: ChatShape, choice: number, call: number): string {
  return `call_${createHash("sha256").update(`${shape.id}/${choice}/${call}`).digest("hex").slice(0, 24)}`;
}

function messageOf(shape: ChatShape, choice: WholeChoice): object {
  const calls = choice.calls.map((call, index) => ({
    id: callId(shape, choice.index, index),
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  return {
    role: "assistant",
    content: choice.content === "" && calls.length > 0 ? null : choice.content,
    refusal: null,
    ...reasoningFields(shape, choice.reasoning),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  };
}

/** A client's own stop may cut a call short: that is no call to answer. */
function finishReasonOf({ calls, finishReason, stopReason }: ChoiceEnd): string {
  return calls > 0 && finishReason === "stop" && stopReason === undefined ? "tool_calls" : finishReason;
}

export function chatResponse(shape: ChatShape, choices: readonly WholeChoice[], usage: Usage): object {
  return {
    ...envelope(shape, "chat.completion"),
    choices: choices.map((choice) => ({
      index: choice.index,
      message: messageOf(shape, choice),
      logprobs: logprobsOf(shape, choice.tokens),
      finish_reason: finishReasonOf(choice.end),
      stop_reason: choice.end.stopReason ?? null,
      ...(shape.returnTokenIds ? { token_ids: choice.tokenIds } : {}),
    })),
    usage,
  };
}

/** Maps events to chunks. */
export class ChatChunks {
  readonly #shape: ChatShape;
  readonly #includeUsage: boolean;
  #head: string | undefined;

  constructor(shape: ChatShape, includeUsage: boolean) {
    this.#shape = shape;
    this.#includeUsage = includeUsage;
  }

  /** What comes first for a choice. */
  opening(index: number): object {
    return this.#chunk(index, { role: "assistant", content: "" });
  }

  chunks(event: ChoiceEvent): Chunk[] {
    const { index, delta } = event;
    const chunks: Chunk[] = [];
    if (this.#says(delta)) {
      const isPlain = delta.calls.length === 0 && this.#shape.topLogprobs === undefined;
      chunks.push(isPlain ? this.#plain(index, delta) : this.#chunk(index, this.#delta(index, delta), { delta }));
    }
    if (event.kind === "delta") return chunks;
    const { stopReason } = event.end;
    chunks.push(this.#chunk(index, {}, { finish_reason: finishReasonOf(event.end), stop_reason: stopReason ?? null }));
    return chunks;
  }

  usage(usage: Usage): object {
    return { ...envelope(this.#shape, "chat.completion.chunk"), choices: [], usage };
  }

  /** What {@link #chunk} makes of text alone, as JSON: nearly every token's chunk is of that kind. */
  #plain(index: number, delta: ChoiceDelta): string {
    this.#head ??= JSON.stringify(envelope(this.#shape, "chat.completion.chunk")).slice(0, -1);
    const content = delta.content === "" ? "" : `"content":${JSON.stringify(delta.content)}`;
    let fields = content;
    if (this.#shape.includeReasoning && delta.reasoning !== "") {
      const reasoning = JSON.stringify(delta.reasoning);
      fields += `${content === "" ? "" : ","}"reasoning":${reasoning},"reasoning_content":${reasoning}`;
    }
    const ids = this.#shape.returnTokenIds ? `,"token_ids":[${delta.tokenIds.join(",")}]` : "";
    const usage = this.#includeUsage ? ',"usage":null' : "";
    return `${this.#head},"choices":[{"index":${index},"delta":{${fields}},"logprobs":null,"finish_reason":null${ids}}]${usage}}`;
  }

  #says(delta: ChoiceDelta): boolean {
    return (
      delta.content !== "" ||
      (this.#shape.includeReasoning && delta.reasoning !== "") ||
      delta.calls.length > 0 ||
      delta.tokens.length > 0 ||
      (this.#shape.returnTokenIds && delta.tokenIds.length > 0)
    );
  }

  #delta(index: number, delta: ChoiceDelta): object {
    return {
      ...(delta.content === "" ? {} : { content: delta.content }),
      ...reasoningFields(this.#shape, delta.reasoning),
      ...(delta.calls.length === 0 ? {} : { tool_calls: delta.calls.map((call) => this.#call(index, call)) }),
    };
  }

  #call(choice: number, { index, name, arguments: text }: CallDelta): object {
    if (name === undefined) return { index, function: { arguments: text } };
    return { index, id: callId(this.#shape, choice, index), type: "function", function: { name, arguments: text } };
  }

  #chunk(
    index: number,
    delta: object,
    rest: { delta?: ChoiceDelta; finish_reason?: string; stop_reason?: string | number | null } = {},
  ): object {
    const { delta: news, ...end } = rest;
    const choice = {
      index,
      delta,
      logprobs: news && news.tokens.length > 0 ? logprobsOf(this.#shape, news.tokens) : null,
      finish_reason: null,
      ...end,
      ...(news && this.#shape.returnTokenIds ? { token_ids: news.tokenIds } : {}),
    };
    return {
      ...envelope(this.#shape, "chat.completion.chunk"),
      choices: [choice],
      ...(this.#includeUsage ? { usage: null } : {}),
    };
  }
}
