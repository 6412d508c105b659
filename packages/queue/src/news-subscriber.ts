import type { Redis } from "ioredis";

/** What a channel's listener is told. */
export interface NewsListener {
  onMessage(message: Buffer): void;
  /** The connection was lost and is back: anything may have been missed. */
  onReconnect(): void;
}

/** Shares one subscribed connection among all listeners of a process. */
export class NewsSubscriber {
  readonly #redis: Redis;
  readonly #listeners = new Map<string, Set<NewsListener>>();

  /** Takes the connection over; whoever made it disconnects it. */
  constructor(redis: Redis) {
    this.#redis = redis;
    redis.on("messageBuffer", (channel: Buffer, message: Buffer) => {
      for (const listener of this.#listeners.get(channel.toString()) ?? []) listener.onMessage(message);
    });
    redis.on("ready", () => {
      for (const listeners of this.#listeners.values()) for (const listener of listeners) listener.onReconnect();
    });
  }

  /** Resolves once Redis has confirmed the subscription: whatever is published from then on arrives, unless the connection breaks. */
  async add(channel: string, listener: NewsListener): Promise<void> {
    const listeners = this.#listeners.get(channel);
    if (listeners) listeners.add(listener);
    else this.#listeners.set(channel, new Set([listener]));
    await this.#redis.subscribe(channel);
  }

  remove(channel: string, listener: NewsListener): void {
    const listeners = this.#listeners.get(channel);
    if (!listeners?.delete(listener) || listeners.size > 0) return;
    this.#listeners.delete(channel);
    this.#redis.unsubscribe(channel).catch(() => undefined);
  }
}
