import type { RequestId } from "@moiety/core";
import type { News } from "./news-codec.js";
import { type NewsHub, type NewsListener, TICKS_PER_SILENCE } from "./news-hub.js";

/** News kept for a reader that is slow or has not come yet; with more, the log is read instead. */
export const MAX_BUFFERED = 256;
/** A reader that has not come by then reads the log. */
const MAX_TICKS = 5 * TICKS_PER_SILENCE;

/** Keeps the news of a request that was just submitted until its reader comes, so that the reader need not ask Redis. */
export class Mailbox implements NewsListener {
  readonly #hub: NewsHub;
  readonly #id: RequestId;
  readonly #onDropped: () => void;
  #news: News[] = [];
  #ticks = 0;

  constructor(hub: NewsHub, id: RequestId, onDropped: () => void) {
    this.#hub = hub;
    this.#id = id;
    this.#onDropped = onDropped;
    hub.listen(id, this);
  }

  onNews(news: News): void {
    this.#news.push(news);
    if (this.#news.length > MAX_BUFFERED) this.drop();
  }

  onDoubt(): void {
    this.drop();
  }

  onTick(): void {
    this.#ticks += 1;
    if (this.#ticks > MAX_TICKS) this.drop();
  }

  /** Everything so far, from the beginning of the log. */
  empty(): News[] {
    this.drop();
    return this.#news;
  }

  drop(): void {
    this.#hub.unlisten(this.#id, this);
    this.#onDropped();
  }
}
