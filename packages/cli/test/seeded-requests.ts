import { openSse } from "@moiety/testing";

/** What a client received, in a form that two runs can be compared in. */
export interface Received {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly number[];
  readonly finishReason: string | undefined;
}

export interface Stream {
  readonly received: Received;
  /** Longest time between two chunks, or before the first. */
  readonly longestStallMs: number;
}

interface Chunk {
  readonly error?: unknown;
  readonly choices: readonly {
    readonly text: string;
    readonly token_ids?: readonly number[];
    readonly logprobs?: { readonly token_logprobs: readonly number[] } | null;
    readonly finish_reason: string | null;
  }[];
}

/** The body of the index-th of many different sampled requests. */
export function seededRequest(index: number, maxTokens: number) {
  return {
    prompt: `${index}: ${"the share that each of them holds ".repeat(1 + (index % 7))}`,
    max_tokens: maxTokens,
    seed: 1_000 + index,
    temperature: 0.7 + (index % 4) * 0.2,
    top_p: index % 3 === 0 ? 0.9 : 1,
    frequency_penalty: index % 5 === 0 ? 0.4 : 0,
    logprobs: 2,
    ignore_eos: true,
    return_token_ids: true,
    stream: true,
  };
}

/** Streams one completion to its end. @throws Error when the stream carries an error or ends early. */
export async function readStream(url: string, body: unknown, onChunk: () => void = () => {}): Promise<Stream> {
  const response = await openSse(`${url}/v1/completions`, { body });
  if (response.status !== 200) throw new Error(`status ${response.status}: ${response.body}`);
  let text = "";
  let finishReason: string | undefined;
  const tokenIds: number[] = [];
  const logprobs: number[] = [];
  let lastMs = 0;
  let longestStallMs = 0;
  for await (const { data, atMs } of response.events) {
    longestStallMs = Math.max(longestStallMs, atMs - lastMs);
    lastMs = atMs;
    if (data === "[DONE]") return { received: { text, tokenIds, logprobs, finishReason }, longestStallMs };
    const chunk: Chunk = JSON.parse(data);
    if (chunk.error !== undefined) throw new Error(`the stream carries an error: ${data}`);
    for (const choice of chunk.choices) {
      text += choice.text;
      tokenIds.push(...(choice.token_ids ?? []));
      logprobs.push(...(choice.logprobs?.token_logprobs ?? []));
      finishReason = choice.finish_reason ?? finishReason;
    }
    onChunk();
  }
  throw new Error(`the stream ended without [DONE], after ${tokenIds.length} tokens`);
}
