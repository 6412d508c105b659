import type { ServerResponse } from "node:http";
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
  #keepAlive: NodeJS.Timeout | undefined;

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
    this.#rest();
  }

  /** Writes one event, named or not. @throws AppError CANCELLED when the client is gone, RESOURCE_EXHAUSTED when it reads nothing. */
  async send(data: unknown, event?: string): Promise<void> {
    const name = event === undefined ? "" : `event: ${event}\n`;
    await this.#write(`${name}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
  }

  end(): void {
    clearTimeout(this.#keepAlive);
    this.#response.end();
  }

  /** Hangs up. */
  destroy(): void {
    clearTimeout(this.#keepAlive);
    this.#response.destroy();
  }

  #rest(): void {
    clearTimeout(this.#keepAlive);
    this.#keepAlive = setTimeout(() => {
      if (this.#response.destroyed || this.#response.writableEnded) return;
      if (!this.#response.writableNeedDrain) this.#response.write(": keep-alive\n\n");
      this.#rest();
    }, this.#options.keepAliveMs);
  }

  async #write(text: string): Promise<void> {
    if (this.#response.destroyed || this.#response.writableEnded) throw gone();
    this.#rest();
    if (this.#response.write(text)) return;
    await this.#drained();
  }

  #drained(): Promise<void> {
    const response = this.#response;
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        response.off("drain", onDrain).off("close", onClose);
        act();
      };
      const onDrain = () => settle(resolve);
      const onClose = () => settle(() => reject(gone()));
      const timer = setTimeout(
        () =>
          settle(() => reject(new AppError("RESOURCE_EXHAUSTED", "the client did not read its stream", { retryable: false }))),
        this.#options.patienceMs,
      );
      response.on("drain", onDrain).on("close", onClose);
    });
  }
}

const gone = (): AppError => new AppError("CANCELLED", "the client closed the connection");
