import { Agent, type ClientRequest, request } from "node:http";
import { nowMs, promptOfStream } from "./stream-prompt.js";
import { countTokens } from "./token-ids.js";

/** What a client saw of one stream. */
export interface ClientStream {
  readonly stream: number;
  readonly sentMs: number;
  /** When each token came. */
  readonly receivedMs: readonly number[];
  /** Chunks that had tokens. */
  readonly chunks: number;
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
  let chunks = 0;
  return new Promise((resolve) => {
    const end = (fault?: string) => resolve({ stream, sentMs, receivedMs, chunks, ...(fault === undefined ? {} : { fault }) });
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const call = request(`${url}/v1/completions`, { method: "POST", agent, headers, signal });
    call.once("error", (error) => end(error.message));
    const onTokens = (count: number) => {
      const atMs = nowMs();
      chunks += 1;
      for (let token = 0; token < count; token++) receivedMs.push(atMs);
    };
    readEvents(call, { end, onTokens });
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
    // Of these streams every byte is ASCII.
    response.setEncoding("latin1");
    response.on("data", (text: string) => {
      const events = (rest === "" ? text : rest + text).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        const count = countTokens(event);
        if (count > 0) on.onTokens(count);
        else if (event === "data: [DONE]") done = true;
      }
    });
    response.once("error", (error) => on.end(error.message));
    response.once("end", () => on.end(done ? undefined : "the stream ended early"));
  });
}
