export interface SseEvent {
  /** Milliseconds since the request was sent. */
  readonly atMs: number;
  /** The `event:` field; empty when absent. */
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string;
}

export interface SseResponse {
  readonly status: number;
  readonly headers: Headers;
  /** The body of an answer that is no event stream. */
  readonly body: string | undefined;
  /** In the order of their arrival. */
  readonly events: AsyncIterable<SseEvent>;
}

/** Splits the text of an event stream into events, however it was cut into chunks. */
export class SseParser {
  #rest = "";
  #event = "";
  #id: string | undefined;
  #data: string[] = [];

  /** The events that the chunk completed. */
  push(chunk: string): Omit<SseEvent, "atMs">[] {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#take(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  #take(line: string): Omit<SseEvent, "atMs">[] {
    if (line === "") return this.#flush();
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "id") this.#id = value;
    return [];
  }

  #flush(): Omit<SseEvent, "atMs">[] {
    const complete = this.#data.length > 0 ? [{ event: this.#event, id: this.#id, data: this.#data.join("\n") }] : [];
    this.#event = "";
    this.#data = [];
    return complete;
  }
}

/** POSTs (or GETs, without a body) and reads the answer event by event, with the time of each. */
export async function openSse(
  url: string,
  options: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>>; readonly signal?: AbortSignal } = {},
): Promise<SseResponse> {
  const startedMs = performance.now();
  const { body, headers, signal } = options;
  const response = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    headers: { accept: "text/event-stream", ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  const events = isStream && response.body !== null ? readEvents(response.body, startedMs) : noEvents();
  return { status: response.status, headers: response.headers, body: isStream ? undefined : await response.text(), events };
}

async function* readEvents(body: ReadableStream<Uint8Array>, startedMs: number): AsyncGenerator<SseEvent> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const atMs = performance.now() - startedMs;
    for (const event of parser.push(decoder.decode(chunk, { stream: true }))) yield { ...event, atMs };
  }
}

async function* noEvents(): AsyncGenerator<SseEvent> {}

/** Reads a stream to its end. */
export async function collectSse(events: AsyncIterable<SseEvent>): Promise<readonly SseEvent[]> {
  const all: SseEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}
