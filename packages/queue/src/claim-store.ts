import type { AppError, Clock, RequestId } from "@moiety/core";
import type { Redis } from "ioredis";
import type { QueueKeys } from "./keys.js";
import { decodeRecord, encodeFinish, RECORD_FIELDS } from "./record-codec.js";
import {
  appendScript,
  asArray,
  asBuffers,
  asText,
  claimScript,
  finishScript,
  letGoScript,
  promptScript,
  renewScript,
} from "./scripts.js";
import { decodeToken, encodeToken } from "./token-codec.js";
import type { Finish, LoggedToken, RequestRecord } from "./types.js";

/** Entries of one append: keeps scripts short, and below Lua's limit on arguments. */
export const APPEND_LIMIT = 512;

/** What a script of a holder answers. `short`: the log has fewer entries than the caller built on. */
export type WriteAnswer =
  | { readonly kind: "written"; readonly length: number }
  | { readonly kind: "short"; readonly length: number }
  | { readonly kind: "fenced" }
  | { readonly kind: "closed" };

export type ClaimAnswer =
  | { readonly kind: "claimed"; readonly fence: string; readonly takeovers: number; readonly content: () => ClaimContent }
  | { readonly kind: "finished" }
  | { readonly kind: "missing" };

export interface ClaimContent {
  readonly record: RequestRecord;
  readonly log: readonly LoggedToken[];
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

function writeAnswer(answer: unknown): WriteAnswer {
  const [code, length] = asArray(answer);
  if (code === 0) return { kind: "written", length: Number(length ?? 0) };
  if (code === 1) return { kind: "short", length: Number(length) };
  return { kind: code === -1 ? "fenced" : "closed" };
}

/** The scripts of a holder, typed. Every call waits while Redis is away and may be repeated. */
export class ClaimStore {
  readonly #options: ClaimStoreOptions;

  constructor(options: ClaimStoreOptions) {
    this.#options = options;
  }

  #run(script: { run: typeof appendScript.run }, id: RequestId, args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const { redis, keys } = this.#options;
    return script.run(redis, [keys.record(id), keys.log(id)], args);
  }

  async claim(id: RequestId): Promise<ClaimAnswer> {
    const args = [this.#options.consumerId, this.#options.clock.nowMs(), ...RECORD_FIELDS];
    const [fence, takeovers, fields, entries] = asArray(await this.#run(claimScript, id, args));
    if (fence === -1) return { kind: "missing" };
    if (fence === -2) return { kind: "finished" };
    const content = () => ({
      record: decodeRecord(id, asBuffers(asArray(fields))),
      log: asBuffers(asArray(entries)).map((entry) => decodeToken(entry ?? Buffer.alloc(0))),
    });
    return { kind: "claimed", fence: asText(fence), takeovers: Number(takeovers), content };
  }

  async append(id: RequestId, fence: string, slice: { start: number; tokens: readonly LoggedToken[] }): Promise<WriteAnswer> {
    const args = [fence, slice.start, this.#options.keys.news(id), ...slice.tokens.map(encodeToken)];
    return writeAnswer(await this.#run(appendScript, id, args));
  }

  async putPromptLogprobs(id: RequestId, fence: string, entries: readonly LoggedToken[]): Promise<WriteAnswer> {
    return writeAnswer(await this.#run(promptScript, id, [fence, Buffer.concat(entries.map(encodeToken))]));
  }

  async finish(id: RequestId, fence: string, end: { finish: Finish; length: number }): Promise<WriteAnswer> {
    const { clock, retentionMs, keys } = this.#options;
    const args = [fence, clock.nowMs(), retentionMs, keys.news(id), encodeFinish(end.finish), end.length];
    return writeAnswer(await this.#run(finishScript, id, args));
  }

  async letGo(id: RequestId, fence: string): Promise<void> {
    await this.#run(letGoScript, id, [fence]);
  }

  async renew(id: RequestId, fence: string, lock: { jobId: string; token: string; lockMs: number }): Promise<WriteAnswer> {
    const { redis, keys } = this.#options;
    const touched = [keys.record(id), keys.bull(`${lock.jobId}:lock`), keys.bull("active"), keys.bull("stalled")];
    return writeAnswer(await renewScript.run(redis, touched, [fence, lock.jobId, lock.token, lock.lockMs]));
  }
}
