import { randomBytes } from "node:crypto";
import { AppError, type Clock } from "@moiety/core";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { admitScript } from "./claim-scripts.js";
import type { DrainEstimate } from "./drain-estimate.js";
import { expectedTokens } from "./expected-tokens.js";
import { jobIdOf, type QueueKeys } from "./keys.js";
import { encodeRecord } from "./record-codec.js";
import { asArray } from "./redis-script.js";
import { bullPriority, firstScore, queuedScript } from "./turns.js";
import type { RequestRecord } from "./types.js";

export interface AdmissionOptions {
  readonly redis: Redis;
  /** On the same connection. */
  readonly queue: Queue;
  readonly keys: QueueKeys;
  readonly clock: Clock;
  /** Names the feed on which news of the requests come. */
  readonly producerId: string;
  /** Requests that may wait or be served at once, over all gateways. */
  readonly maxRequests: number;
  /** How long a record outlives its deadline. */
  readonly retentionMs: number;
  readonly drain: DrainEstimate;
}

/** With less, a request is queued only after it was admitted. */
const LEAST_ROOM = 64;

/** The way into the queue: a record under the bound, then a job. */
export class Admission {
  readonly #options: AdmissionOptions;
  /** For more requests, when the last one was admitted or refused. */
  #room = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /**
   * Stores the record, if there is room, and queues its job. Returns how many more there is room for; undefined when that is not known.
   * @throws AppError ALREADY_EXISTS, or RESOURCE_EXHAUSTED with details.retryAfterMs.
   */
  enter(record: RequestRecord): Promise<number | undefined> {
    return this.#isRoomy ? this.#admitAndEnqueue(record) : this.#admitThenEnqueue(record);
  }

  /** Does nothing for a job that is there already. */
  async enqueue(record: RequestRecord): Promise<void> {
    const { queue, redis, keys } = this.#options;
    const jobId = jobIdOf(record.id);
    await queue.add("generate", {}, { jobId, priority: bullPriority(record.priority), timestamp: record.createdAtMs });
    const touched = [keys.admitting, keys.bull("prioritized"), keys.record(record.id)];
    queuedScript.run(redis, touched, [jobId, firstScore(record.priority)]).catch(() => undefined);
  }

  /** Whether there was so much room for the last request that there will be some for this one. */
  get #isRoomy(): boolean {
    return this.#room >= Math.max(LEAST_ROOM, this.#options.maxRequests / 8);
  }

  async #admitThenEnqueue(record: RequestRecord): Promise<number | undefined> {
    const room = await this.#admit(record);
    await this.enqueue(record);
    return room;
  }

  /** In one round trip. A job that should not be there is taken out again; until then it is one whose request is missing, which does nothing. */
  async #admitAndEnqueue(record: RequestRecord): Promise<number | undefined> {
    let isLate = false;
    const admitting = this.#admit(record, () => {
      isLate = true;
    });
    admitting.catch(() => undefined);
    await this.enqueue(record);
    try {
      const room = await admitting;
      // The job may have been taken, and dropped, before its request was there. BullMQ adds no job twice.
      if (isLate) await this.enqueue(record);
      return room;
    } catch (error) {
      if (AppError.from(error).code === "RESOURCE_EXHAUSTED") await this.#options.queue.remove(jobIdOf(record.id));
      throw error;
    }
  }

  async #admit(record: RequestRecord, onResend?: () => void): Promise<number | undefined> {
    const { redis, keys, clock, producerId, maxRequests, retentionMs } = this.#options;
    const { bull, admitting, turns } = keys;
    const nowMs = clock.nowMs();
    const jobId = jobIdOf(record.id);
    const { priority, tenant } = record;
    const expiresAtMs = Math.max(record.deadlineAtMs, nowMs) + retentionMs;
    const answer = asArray(
      await admitScript.run(
        redis,
        [keys.record(record.id), admitting, bull("wait"), bull("prioritized"), bull("active"), turns(priority)],
        [
          record.id,
          randomBytes(8).toString("hex"),
          nowMs,
          maxRequests,
          expiresAtMs,
          bull(""),
          jobId,
          producerId,
          tenant,
          Math.max(1, expectedTokens(record)),
          firstScore(priority),
          firstScore(priority + 1),
          ...encodeRecord(record),
        ],
        onResend,
      ),
    );
    if (answer[0] === -1) {
      throw new AppError("ALREADY_EXISTS", `there is a request ${record.id} already`, { details: { id: record.id } });
    }
    const room = typeof answer[1] === "number" ? maxRequests - answer[1] : undefined;
    if (answer[0] !== 0) {
      this.#room = room ?? this.#room;
      return room;
    }
    this.#room = 0;
    const retryAfterMs = this.#options.drain.waitMs(clock.monotonicMs()) ?? 1_000 + Math.floor(Math.random() * 1_000);
    throw new AppError("RESOURCE_EXHAUSTED", `the queue is full: ${answer[1]} requests of at most ${maxRequests}`, {
      details: { retryAfterMs, limit: maxRequests },
    });
  }
}
