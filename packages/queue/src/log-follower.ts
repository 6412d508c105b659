import { AppError, type Clock, deferred, type RequestId } from "@moiety/core";
import type { Redis } from "ioredis";
import type { QueueKeys } from "./keys.js";
import type { NewsListener, NewsSubscriber } from "./news-subscriber.js";
import { decodeFinish } from "./record-codec.js";
import { asArray, asBuffers, readScript } from "./scripts.js";
import { decodeToken, decodeTokens } from "./token-codec.js";
import type { LogEvent, LoggedToken } from "./types.js";

/** Messages kept for a slow reader; more are dropped, and the log is read instead. */
const MAX_BUFFERED = 256;
const READ_COUNT = 1_024;
const NEWS_HEAD_BYTES = 5;

export interface LogFollowerOptions {
  readonly redis: Redis;
  readonly subscriber: NewsSubscriber;
  readonly keys: QueueKeys;
  readonly clock: Clock;
  /** How long to trust silence before the log is read again. */
  readonly rereadMs: number;
}

interface Snapshot {
  readonly entries: readonly LoggedToken[];
  readonly length: number;
  readonly finish: string | undefined;
}

/** One reader of one log. The list is the truth; messages only save reading it. */
class LogFollower implements NewsListener {
  readonly #options: LogFollowerOptions;
  readonly #id: RequestId;
  readonly #signal: AbortSignal;
  #messages: Buffer[] = [];
  #doubt = true;
  #wake = deferred<void>();
  #next: number;

  constructor(options: LogFollowerOptions, request: { id: RequestId; fromIndex: number; signal: AbortSignal }) {
    this.#options = options;
    this.#id = request.id;
    this.#next = request.fromIndex;
    this.#signal = request.signal;
  }

  onMessage(message: Buffer): void {
    if (this.#messages.length < MAX_BUFFERED) this.#messages.push(message);
    else this.#distrust();
    this.#wake.resolve();
  }

  onReconnect(): void {
    this.#distrust();
    this.#wake.resolve();
  }

  async *events(): AsyncGenerator<LogEvent> {
    const aborted = deferred<"aborted">();
    const onAbort = () => {
      aborted.resolve("aborted");
      this.#wake.resolve();
    };
    this.#signal.addEventListener("abort", onAbort, { once: true });
    const channel = this.#options.keys.news(this.#id);
    try {
      if (this.#signal.aborted) return;
      if ((await this.#unless(aborted.promise, this.#options.subscriber.add(channel, this))) === "aborted") return;
      while (!this.#signal.aborted) {
        const event = this.#doubt ? await this.#unless(aborted.promise, this.#readLog()) : this.#takeMessage();
        if (event === "aborted") return;
        if (event) yield event;
        if (event?.kind === "finish") return;
        if (!event && !this.#doubt && this.#messages.length === 0) await this.#sleep();
      }
    } finally {
      this.#signal.removeEventListener("abort", onAbort);
      this.#options.subscriber.remove(channel, this);
    }
  }

  #unless<T>(aborted: Promise<"aborted">, work: Promise<T>): Promise<T | "aborted"> {
    work.catch(() => undefined);
    return Promise.race([work, aborted]);
  }

  #distrust(): void {
    this.#doubt = true;
    this.#messages = [];
  }

  async #sleep(): Promise<void> {
    this.#wake = deferred<void>();
    if (this.#messages.length > 0 || this.#doubt || this.#signal.aborted) return;
    const timer = setTimeout(() => {
      this.#doubt = true;
      this.#wake.resolve();
    }, this.#options.rereadMs);
    await this.#wake.promise;
    clearTimeout(timer);
  }

  #advance(start: number, entries: readonly LoggedToken[]): LogEvent | undefined {
    const fresh = entries.slice(this.#next - start);
    if (fresh.length === 0) return undefined;
    const event: LogEvent = { kind: "tokens", start: this.#next, tokens: fresh };
    this.#next += fresh.length;
    return event;
  }

  #takeMessage(): LogEvent | undefined {
    const message = this.#messages.shift();
    if (!message || message.length < NEWS_HEAD_BYTES) return undefined;
    const start = message.readUInt32LE(1);
    if (start > this.#next) {
      this.#distrust();
      return undefined;
    }
    const body = message.subarray(NEWS_HEAD_BYTES);
    if (message.readUInt8(0) === 0) return this.#advance(start, decodeTokens(body));
    return { kind: "finish", finish: decodeFinish(body.toString()) };
  }

  async #readLog(): Promise<LogEvent | undefined> {
    this.#doubt = false;
    const snapshot = await this.#snapshot();
    if (this.#next > snapshot.length) return this.#finishOf(snapshot);
    const event = this.#advance(this.#next, snapshot.entries);
    if (!event) return this.#finishOf(snapshot);
    if (this.#next < snapshot.length || snapshot.finish !== undefined) this.#doubt = true;
    return event;
  }

  #finishOf(snapshot: Snapshot): LogEvent | undefined {
    return snapshot.finish === undefined ? undefined : { kind: "finish", finish: decodeFinish(snapshot.finish) };
  }

  async #snapshot(): Promise<Snapshot> {
    const { redis, keys } = this.#options;
    const answer = asArray(await readScript.run(redis, [keys.record(this.#id), keys.log(this.#id)], [this.#next, READ_COUNT]));
    if (answer[0] === -1) {
      throw new AppError("NOT_FOUND", `there is no request ${this.#id}, or its log has expired`, { details: { id: this.#id } });
    }
    const entries = asBuffers(asArray(answer[2])).map((entry) => decodeToken(entry ?? Buffer.alloc(0)));
    return { entries, length: Number(answer[0]), finish: answer[1] === null ? undefined : String(answer[1]) };
  }
}

/** Every index from `fromIndex` exactly once and in order, then the finish. @throws AppError NOT_FOUND when there is no such log. */
export function followLog(
  options: LogFollowerOptions,
  request: { readonly id: RequestId; readonly fromIndex: number; readonly signal: AbortSignal },
): AsyncGenerator<LogEvent> {
  return new LogFollower(options, request).events();
}
