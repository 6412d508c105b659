import type { ChoiceDelta } from "../generation/choice-assembler.js";
import { chatLogprobs, type TokenNames } from "../openai/logprobs.js";
import { seal } from "./reasoning-seal.js";
import { callIdOf, itemId } from "./response-ids.js";
import type { EventBody, ItemStatus, OutputItem, ResponseLogprobs } from "./response-object.js";

export interface ResponseOutputOptions {
  readonly responseId: string;
  readonly names: TokenNames;
  /** How many alternatives go with each token; absent: no log-probabilities. */
  readonly topLogprobs?: number;
  /** Whether reasoning items carry `encrypted_content`. */
  readonly sealed: boolean;
}

interface OpenText {
  readonly kind: "message" | "reasoning";
  readonly id: string;
  readonly text: string[];
  readonly logprobs: ResponseLogprobs[number][];
}

interface OpenCall {
  readonly kind: "function_call";
  readonly id: string;
  readonly callId: string;
  readonly name: string;
  readonly text: string[];
}

/**
 * The items of one response, and the events that tell of them. A function of the deltas alone: whoever reads the same token log, one
 * token at a time, makes the same events.
 */
export class ResponseOutput {
  readonly #options: ResponseOutputOptions;
  readonly #items: OutputItem[] = [];
  #open: OpenText | OpenCall | undefined;
  #calls = 0;
  /** Log-probabilities of tokens whose text has not come yet. */
  #pending: ResponseLogprobs[number][] = [];

  constructor(options: ResponseOutputOptions) {
    this.#options = options;
  }

  /** Items that are closed. */
  get items(): readonly OutputItem[] {
    return this.#items;
  }

  *push(delta: ChoiceDelta): Generator<EventBody> {
    if (delta.reasoning !== "") yield* this.#text("reasoning", delta.reasoning);
    this.#takeLogprobs(delta);
    if (delta.content !== "") yield* this.#text("message", delta.content);
    for (const call of delta.calls) {
      if (call.name !== undefined) yield* this.#beginCall(call.name);
      if (call.arguments !== "" && this.#open?.kind === "function_call") {
        this.#open.text.push(call.arguments);
        yield { type: "response.function_call_arguments.delta", ...this.#place(this.#open), delta: call.arguments };
      }
    }
  }

  /** Closes what is open. */
  *end(status: Exclude<ItemStatus, "in_progress">): Generator<EventBody> {
    const open = this.#open;
    if (!open) return;
    if (open.kind === "message" && this.#pending.length > 0) yield this.#textDelta(open, "");
    this.#open = undefined;
    if (open.kind === "function_call") {
      const { name } = open;
      const text = open.text.join("");
      yield { type: "response.function_call_arguments.done", ...this.#place(open), name, arguments: text };
    } else {
      const text = open.text.join("");
      const place = { ...this.#place(open), content_index: 0 };
      if (open.kind === "reasoning") yield { type: "response.reasoning_text.done", ...place, text };
      else yield { type: "response.output_text.done", ...place, text, logprobs: open.logprobs };
      yield { type: "response.content_part.done", ...place, part: this.#part(open, text) };
    }
    const item = this.#item(open, status);
    yield { type: "response.output_item.done", output_index: this.#items.length, item };
    this.#items.push(item);
  }

  *#text(kind: OpenText["kind"], text: string): Generator<EventBody> {
    let open = this.#open;
    if (open?.kind !== kind) {
      yield* this.end("completed");
      const begun: OpenText = { kind, id: this.#newId(kind), text: [], logprobs: [] };
      this.#open = begun;
      open = begun;
      yield this.#added(begun);
      const place = { ...this.#place(begun), content_index: 0 };
      yield { type: "response.content_part.added", ...place, part: this.#part(begun, "") };
    }
    yield this.#textDelta(open as OpenText, text);
  }

  #textDelta(open: OpenText, delta: string): EventBody {
    const place = { ...this.#place(open), content_index: 0 };
    open.text.push(delta);
    if (open.kind === "reasoning") return { type: "response.reasoning_text.delta", ...place, delta };
    const logprobs = this.#pending;
    this.#pending = [];
    open.logprobs.push(...logprobs);
    return { type: "response.output_text.delta", ...place, delta, logprobs };
  }

  *#beginCall(name: string): Generator<EventBody> {
    yield* this.end("completed");
    const callId = callIdOf(this.#options.responseId, this.#calls);
    this.#calls += 1;
    this.#open = { kind: "function_call", id: this.#newId("function_call"), callId, name, text: [] };
    yield this.#added(this.#open);
  }

  #takeLogprobs({ tokens }: ChoiceDelta): void {
    const { topLogprobs, names } = this.#options;
    if (topLogprobs !== undefined && tokens.length > 0) this.#pending.push(...chatLogprobs(tokens, names, topLogprobs).content);
  }

  #newId(type: OpenText["kind"] | "function_call"): string {
    return itemId(this.#options.responseId, type, { of: "output", index: this.#items.length });
  }

  #place(open: OpenText | OpenCall): { readonly item_id: string; readonly output_index: number } {
    return { item_id: open.id, output_index: this.#items.length };
  }

  #added(open: OpenText | OpenCall): EventBody {
    const item = this.#item(open, "in_progress");
    const begun = item.type === "function_call" ? item : { ...item, content: [] };
    return { type: "response.output_item.added", output_index: this.#items.length, item: begun };
  }

  #part(open: OpenText, text: string): object {
    if (open.kind === "reasoning") return { type: "reasoning_text", text };
    return { type: "output_text", text, annotations: [], logprobs: [...open.logprobs] };
  }

  #item(open: OpenText | OpenCall, status: ItemStatus): OutputItem {
    const text = open.text.join("");
    const { id } = open;
    if (open.kind === "function_call") {
      return { id, type: "function_call", call_id: open.callId, name: open.name, arguments: text, status };
    }
    if (open.kind === "message") {
      const content = [{ type: "output_text", text, annotations: [], logprobs: open.logprobs } as const];
      return { id, type: "message", role: "assistant", status, content };
    }
    const content = [{ type: "reasoning_text", text } as const];
    const isSealed = this.#options.sealed && status !== "in_progress";
    return { id, type: "reasoning", summary: [], content, ...(isSealed ? { encrypted_content: seal(text) } : {}), status };
  }
}
