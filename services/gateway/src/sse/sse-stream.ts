import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { AppError } from "@moiety/core";

export interface SseStreamOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly keepAliveMs: number;
  /** How long the client may leave what was written unread. */
  readonly patienceMs: number;
}

/**
 * Server-sent events to one client. A write waits until the client has taken what was written before, so that a slow client slows its
 * source and never fills memory.
 */
export class SseStream {
  readonly #response: ServerResponse;
  readonly #options: SseStreamOptions;
  /** Where chunks go as Node's own encoder would write them, but in one piece; absent: the response encodes them. */
  readonly #socket: Socket | undefined;
  readonly #keepAlive: NodeJS.Timeout;
  #isHeld = false;

  constructor(response: ServerResponse, options: SseStreamOptions) {
    this.#response = response;
    this.#options = options;
    response.writeHead(200, {
      ...options.headers,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    });
    response.flushHeaders();
    response.on("error", () => undefined);
    // A response without a socket waits for the one before it on the same connection.
    this.#socket = response.chunkedEncoding ? (response.socket ?? undefined) : undefined;
    this.#keepAlive = setTimeout(() => this.#onQuiet(), options.keepAliveMs);
  }

  /**
   * Writes one event, named or not: an object, or its JSON. Returns what to wait for before the next, if anything.
   * @throws AppError CANCELLED when the client is gone; the promise RESOURCE_EXHAUSTED when it reads nothing.
   */
  send(data: unknown, event?: string): Promise<void> | undefined {
    const name = event === undefined ? "" : `event: ${event}\n`;
    return this.#write(`${name}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
  }

  /** Keeps what is sent from now on until {@link end}, to write it at once. */
  hold(): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#socket?.cork();
  }

  end(): void {
    clearTimeout(this.#keepAlive);
    this.hold();
    this.#response.end();
    this.#socket?.uncork();
  }

  /** Hangs up. */
  destroy(): void {
    clearTimeout(this.#keepAlive);
    this.#response.destroy();
  }

  get #isGone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  get #isFull(): boolean {
    return (this.#socket ?? this.#response).writableNeedDrain;
  }

  #onQuiet(): void {
    if (this.#isGone) return;
    if (!this.#isFull) this.#put(": keep-alive\n\n");
    this.#keepAlive.refresh();
  }

  #write(text: string): Promise<void> | undefined {
    if (this.#isGone) throw gone();
    this.#keepAlive.refresh();
    this.#put(text);
    return this.#isFull && !this.#isHeld ? this.#drained() : undefined;
  }

  #put(text: string): void {
    if (this.#socket === undefined) {
      this.#response.write(text);
      return;
    }
    const bytes = Buffer.byteLength(text);
    this.#socket.write(`${bytes.toString(16)}\r\n${text}\r\n`, bytes === text.length ? "latin1" : "utf8");
  }

  #drained(): Promise<void> {
    const response = this.#response;
    const taker = this.#socket ?? response;
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        taker.off("drain", onDrain);
        response.off("close", onClose);
        act();
      };
      const onDrain = () => settle(resolve);
      const onClose = () => settle(() => reject(gone()));
      const timer = setTimeout(
        () =>
          settle(() => reject(new AppError("RESOURCE_EXHAUSTED", "the client did not read its stream", { retryable: false }))),
        this.#options.patienceMs,
      );
      taker.on("drain", onDrain);
      response.on("close", onClose);
    });
  }
}

const gone = (): AppError => new AppError("CANCELLED", "the client closed the connection");
