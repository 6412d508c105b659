import type { LoggedToken } from "@moiety/queue";
import type { ChoiceEnd, ChoiceEvent, WholeChoice } from "../generation/choice.js";
import type { ChoiceDelta, ContentToken } from "../generation/choice-assembler.js";
import type { Chunk } from "./answer.js";
import { type CompletionLogprobs, completionLogprobs, type TokenNames } from "./logprobs.js";
import type { Signature } from "./models.js";
import type { Usage } from "./usage.js";

export interface CompletionShape {
  readonly id: string;
  readonly createdAtS: number;
  readonly model: string;
  readonly signature?: Signature;
  readonly names: TokenNames;
  /** How many alternatives go with each token; absent: no log-probabilities. */
  readonly topLogprobs: number | undefined;
  readonly returnTokenIds: boolean;
  /** Text, and with log-probabilities the tokens, of a choice's prompt, when it is echoed. */
  readonly echo: (index: number) => Promise<Echo | undefined>;
  readonly promptTokens: (index: number) => Int32Array;
}

export interface Echo {
  readonly text: string;
  readonly tokens: readonly { readonly token: LoggedToken; readonly offset: number }[];
}

interface CompletionChoice {
  readonly index: number;
  readonly text: string;
  readonly logprobs: CompletionLogprobs | null;
  readonly finish_reason: string | null;
  readonly stop_reason: string | number | null;
  readonly token_ids?: readonly number[];
  readonly prompt_token_ids?: readonly number[];
}

const NO_ECHO: Echo = { text: "", tokens: [] };

function choiceOf(
  shape: CompletionShape,
  part: { index: number; text: string; tokens: readonly ContentToken[]; tokenIds: readonly number[]; end?: ChoiceEnd },
  echo: { base: number; tokens: Echo["tokens"]; first: boolean },
): CompletionChoice {
  const { names, topLogprobs } = shape;
  const shifted = part.tokens.map(({ token, offset }) => ({ token, offset: offset + echo.base }));
  return {
    index: part.index,
    text: part.text,
    logprobs:
      topLogprobs === undefined ? null : completionLogprobs([...echo.tokens, ...shifted], names, { top: topLogprobs, base: 0 }),
    finish_reason: part.end?.finishReason ?? null,
    stop_reason: part.end?.stopReason ?? null,
    ...(shape.returnTokenIds ? { token_ids: part.tokenIds } : {}),
    ...(shape.returnTokenIds && echo.first ? { prompt_token_ids: [...shape.promptTokens(part.index)] } : {}),
  };
}

const envelope = (shape: CompletionShape) => ({
  id: shape.id,
  object: "text_completion" as const,
  created: shape.createdAtS,
  model: shape.model,
  ...shape.signature,
});

export async function completionResponse(shape: CompletionShape, choices: readonly WholeChoice[], usage: Usage): Promise<object> {
  const mapped = await Promise.all(
    choices.map(async (choice) => {
      const echo = (await shape.echo(choice.index)) ?? NO_ECHO;
      return choiceOf(
        shape,
        { ...choice, text: echo.text + choice.content },
        { base: echo.text.length, tokens: echo.tokens, first: true },
      );
    }),
  );
  return { ...envelope(shape), choices: mapped, usage };
}

/** Maps events to chunks. Keeps which choices have begun. */
export class CompletionChunks {
  readonly #shape: CompletionShape;
  readonly #includeUsage: boolean;
  readonly #base = new Map<number, number>();
  #head: string | undefined;

  constructor(shape: CompletionShape, includeUsage: boolean) {
    this.#shape = shape;
    this.#includeUsage = includeUsage;
  }

  chunks(event: ChoiceEvent): readonly Chunk[] | Promise<readonly Chunk[]> {
    const base = this.#base.get(event.index);
    if (base === undefined) return this.#begin(event);
    const { topLogprobs, returnTokenIds } = this.#shape;
    if (event.kind === "end" || topLogprobs !== undefined) return [this.#chunk(event, { ...NO_ECHO, base, first: false })];
    const { content, tokens, tokenIds } = event.delta;
    const isEmpty = content === "" && tokens.length === 0 && (tokenIds.length === 0 || !returnTokenIds);
    return isEmpty ? [] : [this.#plain(event.index, event.delta)];
  }

  /** The prompt may come with the first chunk. */
  async #begin(event: ChoiceEvent): Promise<readonly Chunk[]> {
    const { index, delta } = event;
    const echo = (await this.#shape.echo(index)) ?? NO_ECHO;
    const isSilent = delta.tokens.length === 0 && (delta.tokenIds.length === 0 || !this.#shape.returnTokenIds);
    if (event.kind === "delta" && echo.text + delta.content === "" && isSilent) return [];
    const base = echo.text.length;
    this.#base.set(index, base);
    return [this.#chunk(event, { ...echo, base, first: true })];
  }

  #chunk(event: ChoiceEvent, echo: Echo & { readonly base: number; readonly first: boolean }): object {
    const { index, delta } = event;
    const end = event.kind === "end" ? { end: event.end } : {};
    const part = { index, text: echo.text + delta.content, tokens: delta.tokens, tokenIds: delta.tokenIds, ...end };
    const choice = choiceOf(this.#shape, part, echo);
    return { ...envelope(this.#shape), choices: [choice], ...(this.#includeUsage ? { usage: null } : {}) };
  }

  /** What {@link #chunk} makes of text alone, as JSON: nearly every token's chunk is of that kind. */
  #plain(index: number, { content, tokenIds }: ChoiceDelta): string {
    this.#head ??= JSON.stringify(envelope(this.#shape)).slice(0, -1);
    const ids = this.#shape.returnTokenIds ? `,"token_ids":[${tokenIds.join(",")}]` : "";
    const usage = this.#includeUsage ? ',"usage":null' : "";
    const nothing = '"logprobs":null,"finish_reason":null,"stop_reason":null';
    return `${this.#head},"choices":[{"index":${index},"text":${JSON.stringify(content)},${nothing}${ids}}]${usage}}`;
  }

  usage(usage: Usage): object {
    return { ...envelope(this.#shape), choices: [], usage };
  }
}
