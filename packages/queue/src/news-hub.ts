import type { RequestId } from "@moiety/core";
import type { Redis } from "ioredis";
import type { QueueKeys } from "./keys.js";
import { type News, readNews } from "./news-codec.js";

/** Somebody who wants to hear of one log. */
export interface NewsListener {
  onNews(news: News): void;
  /** News may have been missed: the connection was lost and is back. */
  onDoubt(): void;
  /** Some time has passed, {@link TICKS_PER_SILENCE} times until silence is to be doubted. */
  onTick(): void;
}

export const TICKS_PER_SILENCE = 4;

export interface NewsHubOptions {
  /** A connection for itself; whoever made it disconnects it. */
  readonly redis: Redis;
  readonly keys: QueueKeys;
  /** Names this process's feed. */
  readonly producerId: string;
  /** How long silence is trusted. */
  readonly silenceMs: number;
}

/**
 * All the news that a gateway's process hears, over one connection: its own feed, on which one message has the newest tokens of many
 * requests, and channels of single requests that another process submitted.
 */
export class NewsHub {
  readonly #options: NewsHubOptions;
  readonly #listeners = new Map<RequestId, NewsListener[]>();
  readonly #watched = new Map<RequestId, number>();
  readonly #timer: NodeJS.Timeout;
  #isLive = false;
  #live: Promise<void> = Promise.resolve();

  constructor(options: NewsHubOptions) {
    this.#options = options;
    const { redis } = options;
    redis.on("messageBuffer", (_channel: Buffer, message: Buffer) => {
      // Each in a turn of its own: what one log's news set off is done before the next one's turn, and the first reader need not wait for
      // all others of the same message.
      readNews(message, (id, news) => setImmediate(() => this.#deliver(id, news)));
    });
    redis.on("ready", () => this.#goLive());
    redis.on("close", () => {
      this.#isLive = false;
    });
    this.#goLive();
    this.#timer = setInterval(() => {
      for (const listeners of [...this.#listeners.values()]) for (const listener of [...listeners]) listener.onTick();
    }, options.silenceMs / TICKS_PER_SILENCE);
    this.#timer.unref();
  }

  /** Whether whatever is published on the feed from now on arrives, unless the connection breaks. */
  get isLive(): boolean {
    return this.#isLive;
  }

  /** Resolves when {@link isLive}. */
  live(): Promise<void> {
    return this.#live;
  }

  listen(id: RequestId, listener: NewsListener): void {
    const listeners = this.#listeners.get(id);
    if (listeners) listeners.push(listener);
    else this.#listeners.set(id, [listener]);
  }

  unlisten(id: RequestId, listener: NewsListener): void {
    const left = this.#listeners.get(id)?.filter((each) => each !== listener) ?? [];
    if (left.length > 0) this.#listeners.set(id, left);
    else this.#listeners.delete(id);
  }

  /** Hears of a request that is not on this process's feed, too. Resolves once Redis has confirmed it. */
  async watch(id: RequestId): Promise<void> {
    this.#watched.set(id, (this.#watched.get(id) ?? 0) + 1);
    await this.#options.redis.subscribe(this.#options.keys.news(id));
  }

  unwatch(id: RequestId): void {
    const count = (this.#watched.get(id) ?? 0) - 1;
    if (count > 0) {
      this.#watched.set(id, count);
      return;
    }
    this.#watched.delete(id);
    this.#options.redis.unsubscribe(this.#options.keys.news(id)).catch(() => undefined);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #deliver(id: RequestId, news: News): void {
    for (const listener of this.#listeners.get(id) ?? []) listener.onNews(news);
  }

  #goLive(): void {
    this.#live = this.#subscribe();
    this.#live.catch(() => undefined);
  }

  /** The client subscribes again by itself after a reconnect; here one hears when that is done. */
  async #subscribe(): Promise<void> {
    const { redis, keys, producerId } = this.#options;
    await redis.subscribe(keys.feed(producerId));
    this.#isLive = true;
    for (const listeners of [...this.#listeners.values()]) for (const listener of [...listeners]) listener.onDoubt();
  }
}
