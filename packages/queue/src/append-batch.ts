import { AppError, type RequestId } from "@moiety/core";
import type { Redis } from "ioredis";
import { ByteWriter } from "./byte-writer.js";
import type { QueueKeys } from "./keys.js";
import { appendScript } from "./log-scripts.js";
import { asArray } from "./redis-script.js";
import { encodeToken } from "./token-codec.js";
import type { LoggedToken } from "./types.js";

/** Entries of one append: keeps scripts short, and below Lua's limit on arguments. */
export const APPEND_LIMIT = 512;
/** Entries of one message to Redis, of all its appends together: Redis does nothing else while a script runs. */
const BATCH_LIMIT = 512;
const MAX_LOGS = 128;

/** What a script of a holder answers. `short`: the log has fewer entries than the caller built on. */
export type WriteAnswer =
  | { readonly kind: "written"; readonly length: number }
  | { readonly kind: "short"; readonly length: number }
  | { readonly kind: "fenced" }
  | { readonly kind: "closed" };

/** Entries for one log, at most {@link APPEND_LIMIT}. */
export interface Append {
  readonly id: RequestId;
  readonly fence: string;
  readonly start: number;
  readonly tokens: readonly LoggedToken[];
  onAnswer(answer: WriteAnswer): void;
  /** Redis did not take it, or its answer was lost; it may be repeated. */
  onError(error: AppError): void;
}

/**
 * Sends appends that are asked for in one turn of the event loop, a step's tokens of all sequences, to Redis together: one command, one
 * script, and one message to each gateway. Appends to one log must wait for one another.
 */
export class AppendBatch {
  readonly #redis: Redis;
  readonly #keys: QueueKeys;
  /** Logs' first tokens go first: for those somebody waits, the others are only one more. */
  #firsts: Append[] = [];
  #others: Append[] = [];

  constructor(redis: Redis, keys: QueueKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  add(append: Append): void {
    // Behind all promises of this turn: when a step's tokens have been taken in, and the next step computes.
    if (this.#firsts.length + this.#others.length === 0) process.nextTick(() => this.#flush());
    (append.start === 0 ? this.#firsts : this.#others).push(append);
  }

  #flush(): void {
    const waiting = [...this.#firsts, ...this.#others];
    this.#firsts = [];
    this.#others = [];
    for (let first = 0; first < waiting.length; ) {
      let last = first;
      let entries = 0;
      do entries += waiting[last++]?.tokens.length ?? 0;
      while (last < waiting.length && last - first < MAX_LOGS && entries + (waiting[last]?.tokens.length ?? 0) <= BATCH_LIMIT);
      this.#send(waiting.slice(first, last));
      first = last;
    }
  }

  #send(appends: readonly Append[]): void {
    const { record, log, news, feed } = this.#keys.prefixes;
    const answers = appendScript.run(this.#redis, [this.#keys.admitting], [record, log, news, feed, encodeAppends(appends)]);
    answers.then(asArray).then(
      (numbers) => {
        appends.forEach((append, index) => {
          append.onAnswer(writeAnswer(numbers[2 * index], numbers[2 * index + 1]));
        });
      },
      (error: unknown) => {
        const fault = AppError.from(error, "UNAVAILABLE");
        for (const append of appends) append.onError(fault);
      },
    );
  }
}

export function writeAnswer(code: unknown, length: unknown): WriteAnswer {
  if (code === 0) return { kind: "written", length: Number(length ?? 0) };
  if (code === 1) return { kind: "short", length: Number(length) };
  return { kind: code === -1 ? "fenced" : "closed" };
}

/** For each append `u8 length of the id, id, f64 fence, u32 start, u16 count, count * (u16 length, entry)`, little-endian. */
function encodeAppends(appends: readonly Append[]): Buffer {
  const writer = new ByteWriter(appends.length * 64);
  for (const { id, fence, start, tokens } of appends) {
    writer.u8(id.length);
    writer.ascii(id);
    writer.f64(Number(fence));
    writer.u32(start);
    writer.u16(tokens.length);
    for (const token of tokens) {
      const entry = encodeToken(token);
      writer.u16(entry.length);
      writer.bytes(entry);
    }
  }
  return writer.written();
}
