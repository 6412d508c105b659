import { randomBytes } from "node:crypto";
import { AppError, type Clock, type RequestId, systemClock } from "@moiety/core";
import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { Admission } from "./admission.js";
import { DrainEstimate } from "./drain-estimate.js";
import { jobIdOf, QUEUE_NAME, type QueueKeys, queueKeys } from "./keys.js";
import { LogFollower } from "./log-follower.js";
import { cancelScript } from "./log-scripts.js";
import { Mailbox } from "./mailbox.js";
import { NewsHub } from "./news-hub.js";
import { patiently } from "./patience.js";
import { checkRecord, decodeFinish } from "./record-codec.js";
import { connectRedis, disconnectRedis, type QueueConnectionOptions } from "./redis-connection.js";
import { asArray, asText } from "./redis-script.js";
import { decodeTokens } from "./token-codec.js";
import { firstScore, waitingScript } from "./turns.js";
import type { LogEvent, LoggedToken, RequestProducer, RequestProgress, RequestRecord, WorkerBeat } from "./types.js";
import { readBeats } from "./worker-beats.js";

export interface RequestProducerOptions extends QueueConnectionOptions {
  /** Requests that may wait or be served at once, over all gateways. Default 4,096. */
  readonly maxRequests?: number;
  /** How long a submit or a cancel waits for a Redis that is away. Default 10,000. */
  readonly patienceMs?: number;
  /** How long a record outlives its deadline, and a finished log its end. Default 600,000. */
  readonly retentionMs?: number;
  /** How long a follower trusts silence. Default 2,000. */
  readonly rereadMs?: number;
  readonly clock?: Clock;
}

/** Bound on {@link Mailbox}es. */
const MAX_MAILBOXES = 8_192;

/** Jobs that are looked at to count those of each tenant. */
const MAX_COUNTED = 4_096;

/** Connects at once, in the background; whatever is asked before the connection stands waits for it. */
export function createRequestProducer(options: RequestProducerOptions): RequestProducer {
  return new RedisRequestProducer(options);
}

class RedisRequestProducer implements RequestProducer {
  readonly #keys: QueueKeys;
  readonly #redis: Redis;
  readonly #subscription: Redis;
  readonly #producerId = randomBytes(8).toString("hex");
  readonly #hub: NewsHub;
  readonly #drain = new DrainEstimate();
  readonly #admission: Admission;
  /** Of requests that were submitted and have no reader yet. */
  readonly #mailboxes = new Map<RequestId, Mailbox>();
  readonly #queue: Queue;
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #retentionMs: number;
  readonly #onError: (error: AppError) => void;

  constructor(options: RequestProducerOptions) {
    this.#keys = queueKeys(options.prefix ?? "moiety");
    this.#clock = options.clock ?? systemClock;
    this.#patienceMs = options.patienceMs ?? 10_000;
    this.#retentionMs = options.retentionMs ?? 600_000;
    this.#onError = options.onError ?? (() => undefined);
    this.#redis = connectRedis(options, "producer");
    this.#subscription = connectRedis(options, "followers");
    this.#hub = new NewsHub({
      redis: this.#subscription,
      keys: this.#keys,
      producerId: this.#producerId,
      silenceMs: options.rereadMs ?? 2_000,
    });
    this.#queue = new Queue(QUEUE_NAME, {
      connection: this.#redis,
      prefix: this.#keys.prefix,
      skipVersionCheck: true,
      streams: { events: { maxLen: 100 } },
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
    });
    this.#queue.on("error", (error) => this.#onError(AppError.from(error, "UNAVAILABLE")));
    this.#admission = new Admission({
      redis: this.#redis,
      queue: this.#queue,
      keys: this.#keys,
      clock: this.#clock,
      producerId: this.#producerId,
      maxRequests: options.maxRequests ?? 4_096,
      retentionMs: this.#retentionMs,
      drain: this.#drain,
    });
  }

  async submit(record: RequestRecord): Promise<number | undefined> {
    checkRecord(record);
    const mailbox = this.#openMailbox(record.id);
    try {
      return await this.#patiently(this.#admission.enter(record));
    } catch (error) {
      mailbox?.drop();
      const fault = AppError.from(error, "UNAVAILABLE");
      // The caller takes it for refused, so it must not run after all when Redis is back.
      if (fault.code === "UNAVAILABLE") this.#cancelNow(record.id).catch(() => undefined);
      throw fault;
    }
  }

  async resubmit(record: RequestRecord): Promise<number | undefined> {
    try {
      return await this.submit(record);
    } catch (error) {
      if (AppError.from(error).code !== "ALREADY_EXISTS") throw error;
      const finished = await this.#patiently(this.#redis.hexists(this.#keys.record(record.id), "finish"));
      // BullMQ adds no job twice, and a job whose request is finished does nothing.
      if (finished === 0) await this.#patiently(this.#admission.enqueue(record));
      return undefined;
    }
  }

  #patiently<T>(work: Promise<T>): Promise<T> {
    return patiently(work, { clock: this.#clock, patienceMs: this.#patienceMs });
  }

  follow(id: RequestId, fromIndex: number, signal: AbortSignal): AsyncIterable<LogEvent> {
    const onFinish = () => this.#drain.ended(this.#clock.monotonicMs());
    const options = { redis: this.#redis, hub: this.#hub, producerId: this.#producerId, keys: this.#keys, onFinish };
    const news = this.#mailboxes.get(id)?.empty();
    return new LogFollower(options, { id, fromIndex, signal, news });
  }

  /** Before a request is admitted, so that it has all the request's news. Absent when it could not have, or there are many already. */
  #openMailbox(id: RequestId): Mailbox | undefined {
    if (!this.#hub.isLive || this.#mailboxes.has(id) || this.#mailboxes.size >= MAX_MAILBOXES) return undefined;
    const mailbox = new Mailbox(this.#hub, id, () => this.#mailboxes.delete(id));
    this.#mailboxes.set(id, mailbox);
    return mailbox;
  }

  async progress(id: RequestId): Promise<RequestProgress | undefined> {
    const { record, log } = this.#keys;
    const reading = Promise.all([this.#redis.hmget(record(id), "fence", "holder", "finish"), this.#redis.exists(log(id))]);
    const [[fence, holder, finish], logged] = await this.#patiently(reading);
    if (typeof fence !== "string") return undefined;
    if (typeof finish === "string") return { finished: true, started: true, finish: decodeFinish(finish) };
    return { finished: false, started: logged > 0 || Boolean(holder) };
  }

  async promptLogprobs(id: RequestId): Promise<readonly LoggedToken[] | undefined> {
    const packed = await this.#patiently(this.#redis.hgetBuffer(this.#keys.record(id), "promptLogprobs"));
    return packed === null ? undefined : decodeTokens(packed);
  }

  async cancel(id: RequestId): Promise<void> {
    await this.#patiently(this.#cancelNow(id));
  }

  async #cancelNow(id: RequestId): Promise<void> {
    const { record, log, holder, prefixes } = this.#keys;
    const { news, feed, turns } = prefixes;
    const args = ["", this.#clock.nowMs(), this.#retentionMs, news, feed, id, holder(""), turns];
    await cancelScript.run(this.#redis, [record(id), log(id)], args);
    // A job that is being served is locked, stays, and is completed by its holder.
    await this.#queue.remove(jobIdOf(id));
  }

  async depth(): Promise<{ readonly waiting: number; readonly active: number }> {
    const counts = await this.#patiently(this.#queue.getJobCounts("wait", "prioritized", "active"));
    return { waiting: (counts["wait"] ?? 0) + (counts["prioritized"] ?? 0), active: counts["active"] ?? 0 };
  }

  async moreUrgent(priority: number): Promise<number> {
    const { bull } = this.#keys;
    const [plain, urgent] = await this.#patiently(
      Promise.all([this.#redis.llen(bull("wait")), this.#redis.zcount(bull("prioritized"), "-inf", `(${firstScore(priority)}`)]),
    );
    return plain + urgent;
  }

  async waitingByTenant(): Promise<ReadonlyMap<string, number>> {
    const { bull, prefixes } = this.#keys;
    const counted = waitingScript.run(this.#redis, [bull("prioritized")], [prefixes.record, MAX_COUNTED]);
    const answer = asArray(await this.#patiently(counted));
    return new Map(Array.from({ length: answer.length / 2 }, (_, at) => [asText(answer[2 * at]), Number(answer[2 * at + 1])]));
  }

  async workers(): Promise<readonly WorkerBeat[]> {
    return this.#patiently(readBeats(this.#redis, this.#keys, this.#clock.nowMs()));
  }

  async ping(): Promise<boolean> {
    return answers(this.#redis, this.#clock);
  }

  async close(): Promise<void> {
    this.#hub.close();
    await this.#queue.close().catch(() => undefined);
    await Promise.all([disconnectRedis(this.#redis), disconnectRedis(this.#subscription)]);
  }
}

/** Whether Redis answers within a second. */
export async function answers(redis: Redis, clock: Clock): Promise<boolean> {
  if (redis.status !== "ready") return false;
  const patience = new AbortController();
  const timeout = clock.sleep(1_000, patience.signal).then(
    () => false,
    () => false,
  );
  const answered = redis.ping().then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([answered, timeout]);
  } finally {
    patience.abort();
  }
}
