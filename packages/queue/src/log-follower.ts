import { AppError, type RequestId } from "@moiety/core";
import type { Redis } from "ioredis";
import type { QueueKeys } from "./keys.js";
import { readScript } from "./log-scripts.js";
import { MAX_BUFFERED } from "./mailbox.js";
import type { News } from "./news-codec.js";
import { type NewsHub, type NewsListener, TICKS_PER_SILENCE } from "./news-hub.js";
import { decodeFinish } from "./record-codec.js";
import { asArray, asBuffers, asText } from "./redis-script.js";
import { decodeToken, decodeTokens } from "./token-codec.js";
import type { LogEvent, LoggedToken } from "./types.js";

const READ_COUNT = 1_024;

export interface LogFollowerOptions {
  readonly redis: Redis;
  readonly hub: NewsHub;
  readonly producerId: string;
  readonly keys: QueueKeys;
  readonly onFinish: () => void;
}

export interface FollowedRequest {
  readonly id: RequestId;
  readonly fromIndex: number;
  readonly signal: AbortSignal;
  /** All its news since before it was admitted; absent: the log is read first. */
  readonly news: readonly News[] | undefined;
}

interface Snapshot {
  readonly entries: readonly LoggedToken[];
  readonly length: number;
  readonly finish: string | undefined;
  readonly feed: string;
}

type Step = IteratorResult<LogEvent, undefined>;
const END: Step = { done: true, value: undefined };

/**
 * One reader of one log: every index from `fromIndex` exactly once and in order, then the finish. The list is the truth; news only save
 * reading it. Tokens that came while nobody asked come as one event.
 * @throws AppError NOT_FOUND when there is no such log.
 */
export class LogFollower implements NewsListener, AsyncIterableIterator<LogEvent, undefined> {
  readonly #options: LogFollowerOptions;
  readonly #request: FollowedRequest;
  #news: News[];
  /** Whether news may be missing, so that the log is to be read. */
  #doubt: boolean;
  #reading = false;
  /** Whether the request's own channel is listened to. */
  #watches = false;
  #next: number;
  #asked: { resolve(step: Step): void; reject(error: unknown): void } | undefined;
  #ended = false;
  #silentTicks = 0;
  readonly #onAbort = () => this.#end();

  constructor(options: LogFollowerOptions, request: FollowedRequest) {
    this.#options = options;
    this.#request = request;
    this.#next = request.fromIndex;
    this.#news = [...(request.news ?? [])];
    this.#doubt = request.news === undefined;
    options.hub.listen(request.id, this);
    request.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (request.signal.aborted) this.#end();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Step> {
    if (this.#ended) return Promise.resolve(END);
    const event = this.#doubt ? undefined : this.#takeNews();
    if (event) return Promise.resolve(this.#step(event));
    return new Promise((resolve, reject) => {
      this.#asked = { resolve, reject };
      this.#silentTicks = 0;
      if (this.#doubt) this.#read();
    });
  }

  return(): Promise<Step> {
    this.#end();
    return Promise.resolve(END);
  }

  onNews(news: News): void {
    this.#silentTicks = 0;
    if (this.#news.length < MAX_BUFFERED) this.#news.push(news);
    else this.#distrust();
    this.#answer();
  }

  onDoubt(): void {
    this.#distrust();
    this.#answer();
  }

  onTick(): void {
    this.#silentTicks += 1;
    if (this.#asked === undefined || this.#silentTicks < TICKS_PER_SILENCE) return;
    this.#silentTicks = 0;
    this.#doubt = true;
    this.#answer();
  }

  #distrust(): void {
    this.#doubt = true;
    this.#news = [];
  }

  /** Gives whoever asked what there is, or looks for more. */
  #answer(): void {
    const asked = this.#asked;
    if (asked === undefined || this.#reading) return;
    const event = this.#doubt ? undefined : this.#takeNews();
    if (event) {
      this.#asked = undefined;
      asked.resolve(this.#step(event));
    } else if (this.#doubt) this.#read();
  }

  #step(event: LogEvent): Step {
    if (event.kind === "finish") {
      this.#options.onFinish();
      this.#end();
    }
    return { done: false, value: event };
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const { hub } = this.#options;
    const { id, signal } = this.#request;
    signal.removeEventListener("abort", this.#onAbort);
    hub.unlisten(id, this);
    if (this.#watches) hub.unwatch(id);
    this.#asked?.resolve(END);
    this.#asked = undefined;
  }

  /** What the news say that is not known yet: all tokens at once, or the finish. */
  #takeNews(): LogEvent | undefined {
    const start = this.#next;
    let tokens: LoggedToken[] | undefined;
    let taken = 0;
    for (const { kind, start: newsStart, message, from, to } of this.#news) {
      if (newsStart > this.#next) {
        this.#distrust();
        break;
      }
      if (kind === "finish") {
        if (tokens) break;
        return { kind: "finish", finish: decodeFinish(message.toString("utf8", from, to)) };
      }
      taken += 1;
      const entries = decodeTokens(message, from, to);
      const fresh = newsStart === this.#next ? entries : entries.slice(this.#next - newsStart);
      if (fresh.length === 0) continue;
      this.#next += fresh.length;
      if (tokens) tokens.push(...fresh);
      else tokens = fresh;
    }
    if (taken === this.#news.length) this.#news.length = 0;
    else this.#news.splice(0, taken);
    return tokens && { kind: "tokens", start, tokens };
  }

  #read(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.#readLog().then(
      (event) => {
        this.#reading = false;
        if (this.#ended) return;
        const asked = this.#asked;
        if (event === undefined || asked === undefined) return this.#answer();
        this.#asked = undefined;
        asked.resolve(this.#step(event));
      },
      (error: unknown) => {
        const asked = this.#asked;
        this.#asked = undefined;
        this.#end();
        asked?.reject(error);
      },
    );
  }

  async #readLog(): Promise<LogEvent | undefined> {
    const { hub, producerId } = this.#options;
    await hub.live();
    this.#doubt = false;
    let snapshot = await this.#snapshot();
    if (snapshot.feed !== producerId && !this.#watches && !this.#ended) {
      this.#watches = true;
      await hub.watch(this.#request.id);
      snapshot = await this.#snapshot();
    }
    const { length, finish, entries } = snapshot;
    if (entries.length > 0) {
      const event: LogEvent = { kind: "tokens", start: this.#next, tokens: entries };
      this.#next += entries.length;
      if (this.#next < length || finish !== undefined) this.#doubt = true;
      return event;
    }
    return finish === undefined ? undefined : { kind: "finish", finish: decodeFinish(finish) };
  }

  async #snapshot(): Promise<Snapshot> {
    const { redis, keys } = this.#options;
    const { id } = this.#request;
    const args = [this.#next, READ_COUNT, this.#watches ? 1 : 0];
    const [length, finish, entries, feed] = asArray(await readScript.run(redis, [keys.record(id), keys.log(id)], args));
    if (length === -1) {
      throw new AppError("NOT_FOUND", `there is no request ${id}, or its log has expired`, { details: { id } });
    }
    return {
      entries: asBuffers(asArray(entries)).map((entry) => decodeToken(entry ?? Buffer.alloc(0))),
      length: Number(length),
      finish: finish === null ? undefined : String(finish),
      feed: asText(feed),
    };
  }
}
