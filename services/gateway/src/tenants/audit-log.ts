import { randomUUID } from "node:crypto";
import { AppError, type Clock } from "@moiety/core";
import { asArray, patiently, type RedisConnection } from "@moiety/queue";
import type { Logger } from "@moiety/runtime";
import { accountKeys } from "./account-keys.js";
import { type AuditEntry, auditFields, auditLine } from "./audit-entry.js";
import { appendAuditScript } from "./audit-scripts.js";
import type { AuditTally } from "./audit-tally.js";

export interface AuditLogOptions {
  readonly redis: RedisConnection;
  readonly prefix: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tally: Pick<AuditTally, "wrote" | "lost">;
  readonly retention: AuditRetention;
}

/** How much of the audit log is kept. */
export interface AuditRetention {
  /** 0: there is no log. */
  readonly entries: number;
  /** 0: whatever their age. */
  readonly days: number;
}

export interface AuditQuery {
  /** Id of the entry before the page; absent: from the oldest on. */
  readonly after?: string;
  readonly limit: number;
  readonly tenant?: string;
  /** Of the oldest and the newest entry, ms. */
  readonly fromMs?: number;
  readonly toMs?: number;
}

export interface AuditPage {
  readonly lines: readonly object[];
  /** Where to go on; absent: this was the last page. */
  readonly next?: string;
  /** Id of the last entry that was looked at, from which on later ones can be asked for; absent: there was none, and none was named. */
  readonly last?: string;
  /** The entry before the page is no more: some between it and the first of the page may be gone as well. */
  readonly isCut: boolean;
}

const PATIENCE_MS = 5_000;
const DAY_MS = 86_400_000;
/** Equal entries within so long become one with a count. */
const GATHER_MS = 1_000;
/** After Redis refused entries. */
const RETRY_MS = 2_000;
/** Different entries that are gathered; those beyond are counted in one without tenant. */
const MAX_GATHERED = 500;
/** As long as an answer of Redis may be on its way. */
const REMEMBERED_MS = 900_000;
const SCAN = 1_000;
/** Entries that one page looks at, at most. */
const MAX_SCANNED = 20_000;

interface Gathered {
  readonly entry: AuditEntry;
  count: number;
}

/** Of the oldest entry that is kept, in milliseconds since 1970. */
export const oldestKeptMs = ({ days }: AuditRetention, nowMs: number): number => (days === 0 ? 0 : nowMs - days * DAY_MS);

/**
 * Who asked for what, when, and how it ended: a stream that is only ever appended to, capped by length and age. Requests that were let in
 * write theirs where they are counted; this writes those of all others, equal ones together, so that whoever is refused over and over
 * cannot push everything else out. While Redis is away they wait.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #key: string;
  #gathered = new Map<string, Gathered>();
  readonly #closing = new AbortController();
  #writing: Promise<void> | undefined;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#key = accountKeys(options.prefix).audit;
  }

  /** Never throws; written within a second, or when Redis is back. `times`: so many equal ones. */
  note(entry: AuditEntry, times = 1): void {
    if (this.#options.retention.entries === 0) return;
    const { tenant, keyId, kind, status, code, subject } = entry;
    const name = JSON.stringify([tenant, keyId, kind, status, code, subject]);
    const known = this.#gathered.get(name);
    if (known) known.count += times;
    else if (this.#gathered.size < MAX_GATHERED) this.#gathered.set(name, { entry, count: times });
    else this.#overflow(times);
    this.#writing ??= this.#writeSoon().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Entries in the order in which they were written. @throws AppError UNAVAILABLE, INVALID_ARGUMENT. */
  async page({ after, limit, tenant, fromMs, toMs }: AuditQuery): Promise<AuditPage> {
    let last = after;
    let from = after === undefined ? (fromMs === undefined ? "-" : String(fromMs)) : `(${after}`;
    const to = toMs === undefined ? "+" : String(toMs);
    const lines: object[] = [];
    // Looked at last: what is there then was there while the page was read.
    const about = async () => {
      const isCut = after !== undefined && (await this.#isCutAfter(after));
      return { lines, isCut, ...(last === undefined ? {} : { last }) };
    };
    for (let scanned = 0; scanned < MAX_SCANNED; ) {
      const found = await this.#patiently(this.#options.redis.xrange(this.#key, from, to, "COUNT", SCAN));
      for (const [id, fields] of found) {
        const line = auditLine(id, fields);
        if (tenant === undefined || line["tenant"] === tenant) lines.push(line);
        last = id;
        from = `(${id}`;
        if (lines.length === limit) return { ...(await about()), next: id };
      }
      if (found.length < SCAN) return about();
      scanned += found.length;
    }
    return { ...(await about()), next: from.slice(1) };
  }

  /** What cannot be written while Redis is away is lost now. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
  }

  /** Nothing but the log's end is ever cut off: an entry that is no more went with all before it, and perhaps with some after it. */
  async #isCutAfter(id: string): Promise<boolean> {
    const [[found], [first]] = await this.#patiently(
      Promise.all([
        this.#options.redis.xrange(this.#key, id, id),
        this.#options.redis.xrange(this.#key, "-", `(${id}`, "COUNT", 1),
      ]),
    );
    return found === undefined && first === undefined;
  }

  #overflow(times: number): void {
    const entry = { tenant: "-", keyId: "-", kind: "many", requestId: "-", status: 0 };
    const known = this.#gathered.get("");
    if (known) known.count += times;
    else this.#gathered.set("", { entry, count: times });
    this.#options.tally.lost(times, "crowded");
  }

  async #writeSoon(): Promise<void> {
    while (this.#gathered.size > 0) {
      await this.#options.clock.sleep(GATHER_MS, this.#closing.signal).catch(() => undefined);
      const batch = [...this.#gathered.values()];
      this.#gathered = new Map();
      await this.#write(batch);
    }
  }

  /** Ends when the entries are written, or when this gateway has to end without. */
  async #write(batch: readonly Gathered[]): Promise<void> {
    const { clock, logger, tally } = this.#options;
    const { signal } = this.#closing;
    const name = `${this.#key}:batch:${randomUUID()}`;
    for (;;) {
      try {
        const work = this.#append(name, batch);
        return tally.wrote(asArray(await untilClosed(work, signal, () => this.#patiently(work))));
      } catch (error) {
        const entries = batch.length;
        if (signal.aborted) {
          tally.lost(
            batch.reduce((sum, { count }) => sum + count, 0),
            "redis",
          );
          return logger.error({ err: AppError.from(error), entries }, "entries of the audit log were lost");
        }
        logger.warn({ err: AppError.from(error), entries }, "entries of the audit log cannot be written yet");
        await clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  #append(name: string, batch: readonly Gathered[]): Promise<unknown> {
    const { redis, clock, retention } = this.#options;
    const each = batch.flatMap(({ entry, count }) => {
      const fields = auditFields(count > 1 ? { ...entry, count } : entry);
      return [fields.length, ...fields];
    });
    const args = [REMEMBERED_MS, retention.entries, oldestKeptMs(retention, clock.nowMs()), ...each];
    return appendAuditScript.run(redis, [this.#key, name], args);
  }

  #patiently<T>(work: Promise<T>): Promise<T> {
    return patiently(work, { clock: this.#options.clock, patienceMs: PATIENCE_MS });
  }
}

/** Waits for work, and from the moment at which a signal says that it is over no longer than the end does. */
async function untilClosed<T>(work: Promise<T>, signal: AbortSignal, end: () => Promise<T>): Promise<T> {
  work.catch(() => undefined);
  if (signal.aborted) return end();
  let closed = () => {};
  const closing = new Promise<undefined>((resolve) => (closed = () => resolve(undefined)));
  signal.addEventListener("abort", closed, { once: true });
  try {
    const first = await Promise.race([work.then((answer) => ({ answer })), closing]);
    return first ? first.answer : await end();
  } finally {
    signal.removeEventListener("abort", closed);
  }
}
