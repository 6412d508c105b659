import { randomBytes } from "node:crypto";
import { AppError, type Clock, invariant, parseRequestId, type RequestId, systemClock } from "@moiety/core";
import { type Job, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { type ClaimAnswer, type ClaimContent, ClaimStore } from "./claim-store.js";
import { HeldClaim } from "./held-claim.js";
import { JobFetcher } from "./job-fetcher.js";
import { jobIdOf, QUEUE_NAME, type QueueKeys, queueKeys, requestIdOf } from "./keys.js";
import { LockKeeper } from "./lock-keeper.js";
import { NewsSubscriber } from "./news-subscriber.js";
import { answers } from "./producer.js";
import { connectRedis, disconnectRedis, type QueueConnectionOptions } from "./redis-connection.js";
import type { Claim, Finish, RequestConsumer, WorkerBeat } from "./types.js";
import { removeBeat, writeBeat } from "./worker-beats.js";

export interface RequestConsumerOptions extends QueueConnectionOptions {
  /** Claims held at a time until {@link RequestConsumer.setCapacity} says otherwise. Default 1. */
  readonly capacity?: number;
  /** A dead consumer's jobs go to another one after about so long. Default 2,500. */
  readonly lockMs?: number;
  /** Default 800. */
  readonly stalledCheckMs?: number;
  /** A request that loses so many holders without a new token is ended with an error. Default 8. */
  readonly maxTakeovers?: number;
  /** How long a finished log stays. Default 600,000. */
  readonly retentionMs?: number;
  readonly clock?: Clock;
}

/** Connects in the background; {@link RequestConsumer.start} waits for the connection. */
export function createRequestConsumer(options: RequestConsumerOptions): RequestConsumer {
  return new RedisRequestConsumer(options);
}

const CLOSE_PATIENCE_MS = 5_000;
const CLAIM_RETRY_MS = 200;

class RedisRequestConsumer implements RequestConsumer {
  readonly #options: RequestConsumerOptions;
  readonly #consumerId = randomBytes(8).toString("hex");
  readonly #keys: QueueKeys;
  readonly #clock: Clock;
  readonly #redis: Redis;
  readonly #subscription: Redis;
  readonly #store: ClaimStore;
  readonly #locks: LockKeeper;
  readonly #held = new Map<RequestId, HeldClaim>();
  readonly #closing = new AbortController();
  readonly #onError: (error: AppError) => void;
  #worker: Worker | undefined;
  #fetcher: JobFetcher | undefined;
  #onClaim: ((claim: Claim) => void) | undefined;
  #capacity: number;
  #backlog = 0;
  #beatId: string | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: RequestConsumerOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? 1;
    this.#clock = options.clock ?? systemClock;
    this.#onError = options.onError ?? (() => undefined);
    this.#keys = queueKeys(options.prefix ?? "moiety");
    this.#redis = connectRedis(options, "consumer");
    this.#subscription = connectRedis(options, "cancellations");
    this.#store = new ClaimStore({
      redis: this.#redis,
      keys: this.#keys,
      clock: this.#clock,
      consumerId: this.#consumerId,
      retentionMs: options.retentionMs ?? 600_000,
      onError: this.#onError,
    });
    this.#locks = new LockKeeper({
      store: this.#store,
      redis: this.#redis,
      clock: this.#clock,
      lockMs: options.lockMs ?? 2_500,
      stalledCheckMs: options.stalledCheckMs ?? 800,
      onError: this.#onError,
    });
  }

  async start(onClaim: (claim: Claim) => void): Promise<void> {
    invariant(!this.#worker, "a consumer starts once");
    this.#onClaim = onClaim;
    const cancellations = {
      onMessage: (message: Buffer) => this.#held.get(parseRequestId(message.toString()))?.endedElsewhere(),
      onReconnect: () => this.#locks.renewSoon(),
    };
    await new NewsSubscriber(this.#subscription).add(this.#keys.holder(this.#consumerId), cancellations);
    const worker = new Worker(QUEUE_NAME, undefined, {
      connection: this.#redis,
      prefix: this.#keys.prefix,
      lockDuration: this.#options.lockMs ?? 2_500,
      // Locks and stalled jobs are the lock keeper's: it must not take a restart of Redis for the death of every holder.
      skipLockRenewal: true,
      skipStalledCheck: true,
      skipVersionCheck: true,
      stalledInterval: Math.ceil((this.#options.stalledCheckMs ?? 800) / 2),
      maxStalledCount: 1_000_000,
      drainDelay: 1,
      runRetryDelay: 200,
      autorun: false,
    });
    worker.on("error", (error) => this.#onError(AppError.from(error, "UNAVAILABLE")));
    this.#worker = worker;
    await worker.waitUntilReady();
    this.#fetcher = new JobFetcher({
      worker,
      clock: this.#clock,
      capacity: this.#capacity,
      serve: (job, token) => this.#serve(job, token),
      onError: this.#onError,
    });
    this.#fetcher.start();
    this.#locks.start(() => worker.backend.moveStalledJobsToWait());
  }

  setCapacity(claims: number): void {
    invariant(Number.isInteger(claims) && claims >= 0, "a capacity is a count");
    this.#capacity = claims;
    this.#fetcher?.setCapacity(claims);
  }

  backlogTokens(): number {
    return this.#backlog;
  }

  async beat(beat: WorkerBeat): Promise<void> {
    if (this.#closed) return;
    this.#beatId = beat.workerId;
    // A beat that waits for Redis would be stale when it arrives; the next one will do.
    if (this.#redis.status === "ready") await writeBeat(this.#redis, this.#keys, beat, this.#clock.nowMs());
  }

  ping(): Promise<boolean> {
    return answers(this.#redis, this.#clock);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const patience = new AbortController();
    this.#closing.abort();
    const polite = this.#closePolitely();
    polite.catch(() => undefined);
    const late = this.#clock.sleep(CLOSE_PATIENCE_MS, patience.signal).then(() => this.#hangUp());
    await Promise.race([polite, late]).catch((error) => this.#onError(AppError.from(error)));
    patience.abort();
    late.catch(() => undefined);
    this.#locks.close();
    await Promise.all([disconnectRedis(this.#redis), disconnectRedis(this.#subscription)]);
  }

  async #closePolitely(): Promise<void> {
    this.#fetcher?.stop();
    await Promise.all([...this.#held.values()].map((claim) => claim.release()));
    if (this.#beatId !== undefined) await removeBeat(this.#redis, this.#keys, this.#beatId);
    // The fetcher may wait for a job to come, for up to a second, on a connection that is for that alone; BullMQ opens another, and goes on after a tenth of one.
    await this.#worker?.backend.disconnectBlocking(false);
    await this.#fetcher?.finished();
    await this.#worker?.close();
  }

  #hangUp(): void {
    for (const claim of this.#held.values()) claim.abandon();
    this.#worker?.close(true).catch(() => undefined);
  }

  /** Resolves with true when the job is done, with false when it is somebody else's business. */
  async #serve(job: Job, token: string): Promise<boolean> {
    const id = requestIdOf(job.id ?? "");
    this.#held.get(id)?.lost();
    if (this.#closing.signal.aborted || this.#fetcher?.isOverfull) return this.#handBack(job, token);
    const claimedAtMs = this.#clock.nowMs();
    const answer = await this.#claim(id);
    if (!answer) return this.#handBack(job, token);
    if (answer.kind !== "claimed") return true;
    const content = await this.#readable(id, answer);
    if (!content) return true;
    const claim = new HeldClaim(content, {
      store: this.#store,
      clock: this.#clock,
      fence: answer.fence,
      claimedAtMs,
      onError: this.#onError,
      onBacklog: (tokens) => {
        this.#backlog += tokens;
      },
    });
    return this.#hold(claim, { job, token });
  }

  async #hold(claim: HeldClaim, { job, token }: { job: Job; token: string }): Promise<boolean> {
    const id = claim.record.id;
    this.#held.set(id, claim);
    const unlock = this.#locks.keep(claim, { jobId: jobIdOf(id), token });
    if (this.#closing.signal.aborted) claim.release().catch(() => undefined);
    else this.#onClaim?.(claim);
    const settlement = await claim.settled;
    unlock();
    if (this.#held.get(id) === claim) this.#held.delete(id);
    if (settlement === "released") return this.#handBack(job, token);
    return settlement !== "lost";
  }

  /** Absent when the consumer closes before Redis answers. */
  async #claim(id: RequestId): Promise<ClaimAnswer | undefined> {
    while (!this.#closing.signal.aborted) {
      try {
        return await this.#store.claim(id);
      } catch (error) {
        this.#onError(AppError.from(error, "UNAVAILABLE"));
        await this.#clock.sleep(CLAIM_RETRY_MS, this.#closing.signal).catch(() => undefined);
      }
    }
    return undefined;
  }

  /** Ends a request that no consumer can or should serve, and returns nothing for it. */
  async #readable(id: RequestId, answer: ClaimAnswer & { kind: "claimed" }): Promise<ClaimContent | undefined> {
    const limit = this.#options.maxTakeovers ?? 8;
    try {
      if (answer.takeovers >= limit) {
        throw new AppError("ABORTED", `given up: ${answer.takeovers} workers in a row were lost while they served this request`);
      }
      const content = answer.content();
      if (content.record.deadlineAtMs > this.#clock.nowMs()) return content;
      throw new AppError("DEADLINE_EXCEEDED", "the request was not finished by its deadline");
    } catch (error) {
      const fault = AppError.from(error);
      this.#onError(fault);
      await this.#store
        .finish(id, answer.fence, { finish: failure(fault), length: 0 })
        .catch((cause) => this.#onError(AppError.from(cause)));
      return undefined;
    }
  }

  /** Puts the job back in front of its equals, for whoever is next. */
  async #handBack(job: Job, token: string): Promise<boolean> {
    try {
      await job.moveToWait(token);
      // BullMQ does not wake waiting workers for a job that comes back to the prioritised set.
      await this.#redis.zadd(this.#keys.bull("marker"), 0, "0");
    } catch (error) {
      this.#onError(AppError.from(error, "UNAVAILABLE"));
    }
    return false;
  }
}

function failure(fault: AppError): Finish {
  return {
    reason: "error",
    error: { code: fault.code, message: fault.message },
    promptTokens: 0,
    cachedTokens: 0,
    outputTokens: 0,
    queueMs: 0,
    prefillMs: 0,
    decodeMs: 0,
  };
}
