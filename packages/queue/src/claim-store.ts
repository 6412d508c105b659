import type { AppError, Clock, RequestId } from "@moiety/core";
import type { Redis } from "ioredis";
import { type Append, AppendBatch, type WriteAnswer, writeAnswer } from "./append-batch.js";
import { claimScript, letGoScript, renewScript } from "./claim-scripts.js";
import type { QueueKeys } from "./keys.js";
import { finishScript, promptScript } from "./log-scripts.js";
import { decodeRecord, encodeFinish, RECORD_FIELDS } from "./record-codec.js";
import { asArray, asBuffers, asText, type RedisScript } from "./redis-script.js";
import { decodeToken, encodeToken } from "./token-codec.js";
import type { Finish, LoggedToken, RequestRecord, Resumption } from "./types.js";

export type ClaimAnswer =
  | { readonly kind: "claimed"; readonly fence: string; readonly takeovers: number; readonly content: () => ClaimContent }
  | { readonly kind: "finished" }
  | { readonly kind: "missing" };

export interface ClaimContent {
  readonly record: RequestRecord;
  readonly log: readonly LoggedToken[];
  readonly resumes?: Resumption;
}

/** What holds a job against other consumers. */
export interface Lock {
  readonly id: RequestId;
  readonly fence: string;
  readonly jobId: string;
  readonly token: string;
}

export interface ClaimStoreOptions {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly clock: Clock;
  /** Name under which claims are held. */
  readonly consumerId: string;
  /** How long a finished log stays. */
  readonly retentionMs: number;
  readonly onError: (error: AppError) => void;
}

/** The scripts of a holder, typed. Every call waits while Redis is away and may be repeated. */
export class ClaimStore {
  readonly #options: ClaimStoreOptions;
  readonly #appends: AppendBatch;

  constructor(options: ClaimStoreOptions) {
    this.#options = options;
    this.#appends = new AppendBatch(options.redis, options.keys);
  }

  #run(script: RedisScript, id: RequestId, args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const { redis, keys } = this.#options;
    return script.run(redis, [keys.record(id), keys.log(id)], args);
  }

  async claim(id: RequestId): Promise<ClaimAnswer> {
    const args = [this.#options.consumerId, this.#options.clock.nowMs(), this.#options.keys.prefixes.turns, ...RECORD_FIELDS];
    const [fence, takeovers, fields, entries, hadHolder] = asArray(await this.#run(claimScript, id, args));
    if (fence === -1) return { kind: "missing" };
    if (fence === -2) return { kind: "finished" };
    const content = () => {
      const log = asBuffers(asArray(entries)).map((entry) => decodeToken(entry ?? Buffer.alloc(0)));
      const resumes: Resumption = hadHolder === 1 ? "lost" : "released";
      return { record: decodeRecord(id, asBuffers(asArray(fields))), log, ...(log.length === 0 ? {} : { resumes }) };
    };
    return { kind: "claimed", fence: asText(fence), takeovers: Number(takeovers), content };
  }

  /** Not at once, but together with others: see {@link AppendBatch}. */
  append(append: Append): void {
    this.#appends.add(append);
  }

  async putPromptLogprobs(id: RequestId, fence: string, entries: readonly LoggedToken[]): Promise<WriteAnswer> {
    const [code, length] = asArray(await this.#run(promptScript, id, [fence, Buffer.concat(entries.map(encodeToken))]));
    return writeAnswer(code, length);
  }

  async finish(id: RequestId, fence: string, end: { finish: Finish; length: number }): Promise<WriteAnswer> {
    const { clock, retentionMs, keys } = this.#options;
    const { news, feed, turns } = keys.prefixes;
    const args = [fence, clock.nowMs(), retentionMs, news, feed, id, encodeFinish(end.finish), end.length, turns];
    const [code, length] = asArray(await this.#run(finishScript, id, args));
    return writeAnswer(code, length);
  }

  async letGo(id: RequestId, fence: string): Promise<void> {
    await this.#run(letGoScript, id, [fence]);
  }

  /** One answer for each lock, in their order. */
  async renew(locks: readonly Lock[], lockMs: number): Promise<readonly WriteAnswer[]> {
    const { redis, keys } = this.#options;
    const each = locks.flatMap(({ id, fence, jobId, token }) => [id, fence, jobId, token]);
    const args = [keys.prefixes.record, keys.bull(""), lockMs, ...each];
    const codes = asArray(await renewScript.run(redis, [keys.bull("active"), keys.bull("stalled")], args));
    return codes.map((code) => writeAnswer(code, 0));
  }
}
