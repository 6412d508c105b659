import { settings } from "./settings.ts";

/** The body of a request that is not streamed; `streamed` makes it one that is. */
export interface Body {
  readonly model: string;
  readonly max_tokens?: number;
  readonly seed: number;
  readonly priority?: number;
  readonly [field: string]: unknown;
}

/**
 * A sampled completion of exactly so many tokens. The index alone says what is asked: the same index, the same text, however often and
 * beside whatever else.
 */
export function completion(index: number, tokens: number, more: Readonly<Record<string, unknown>> = {}): Body {
  return {
    model: settings.model,
    prompt: `${index}: ${"the share that each of them holds ".repeat(1 + (index % 7))}`,
    max_tokens: tokens,
    seed: 1_000 + index,
    temperature: 0.7 + (index % 4) * 0.2,
    ignore_eos: true,
    ...more,
  };
}

/** A short conversation, which ends by itself. */
export function chat(index: number): Body {
  const question = `What is ${100 + ((index * 37) % 400)} + ${10 + ((index * 53) % 300)}?`;
  return { model: settings.model, messages: [{ role: "user", content: question }], seed: index, reasoning_effort: "low" };
}

/** A prompt of so many tokens that no other index shares a beginning with. */
export function longCompletion(index: number, promptTokens: number, tokens: number): Body {
  // A linear congruential generator: the same in every run. Ids below 256 are in every vocabulary.
  let state = (index * 2_654_435_761 + 12_345) >>> 0;
  const prompt = Array.from({ length: promptTokens }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
  return completion(index, tokens, { prompt });
}

export const streamed = (body: Body) => ({ ...body, stream: true, stream_options: { include_usage: true } });

export const headersOf = (key: string) => ({ "content-type": "application/json", authorization: `Bearer ${key}` });
