import { Agent, type ClientRequest, request } from "node:http";
import { z } from "zod";
import { nowMs, promptOfStream } from "./stream-prompt.js";

/** What a client saw of one stream. */
export interface ClientStream {
  readonly stream: number;
  readonly sentMs: number;
  /** When each token came. */
  readonly receivedMs: readonly number[];
  /** Absent: all went well. */
  readonly fault?: string;
}

export interface StreamRequest {
  readonly url: string;
  readonly model: string;
  readonly stream: number;
  readonly maxTokens: number;
  readonly signal: AbortSignal;
}

const chunkSchema = z.object({ choices: z.array(z.object({ token_ids: z.array(z.number()).optional() })) });

/** A connection for every stream. */
const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });

/** Reads one streamed completion to its end. Never rejects. */
export function readStream(options: StreamRequest): Promise<ClientStream> {
  const { url, model, stream, maxTokens, signal } = options;
  const body = JSON.stringify({
    model,
    prompt: promptOfStream(stream),
    max_tokens: maxTokens,
    temperature: 0,
    stream: true,
    return_token_ids: true,
  });
  const sentMs = nowMs();
  const receivedMs: number[] = [];
  return new Promise((resolve) => {
    const end = (fault?: string) => resolve({ stream, sentMs, receivedMs, ...(fault === undefined ? {} : { fault }) });
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const call = request(`${url}/v1/completions`, { method: "POST", agent, headers, signal });
    call.once("error", (error) => end(error.message));
    readEvents(call, { end, onTokens: (count) => receivedMs.push(...Array.from({ length: count }, nowMs)) });
    call.end(body);
  });
}

function readEvents(call: ClientRequest, on: { end(fault?: string): void; onTokens(count: number): void }): void {
  call.once("response", (response) => {
    if (response.statusCode !== 200) {
      response.resume();
      return on.end(`status ${response.statusCode}`);
    }
    let rest = "";
    let done = false;
    response.setEncoding("utf8");
    response.on("data", (text: string) => {
      const events = (rest + text).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        if (event === "data: [DONE]") done = true;
        else if (event.startsWith("data: ")) on.onTokens(tokensOf(event.slice("data: ".length)));
      }
    });
    response.once("error", (error) => on.end(error.message));
    response.once("end", () => on.end(done ? undefined : "the stream ended early"));
  });
}

/** Tokens of a chunk; of an error in its place: none, and the stream then ends without them. */
function tokensOf(data: string): number {
  const chunk = chunkSchema.safeParse(JSON.parse(data));
  return chunk.success ? chunk.data.choices.reduce((sum, { token_ids }) => sum + (token_ids?.length ?? 0), 0) : 0;
}
