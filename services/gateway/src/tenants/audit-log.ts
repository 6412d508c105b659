import { AppError, type Clock } from "@moiety/core";
import { patiently, type RedisConnection } from "@moiety/queue";
import type { Logger } from "@moiety/runtime";
import { accountKeys } from "./account-keys.js";
import { type AuditEntry, auditFields, auditLine } from "./audit-entry.js";

export interface AuditLogOptions {
  readonly redis: RedisConnection;
  readonly prefix: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0: there is no log. */
  readonly maxEntries: number;
  readonly maxDays: number;
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
}

const PATIENCE_MS = 5_000;
const DAY_MS = 86_400_000;
/** Equal entries within so long become one with a count. */
const GATHER_MS = 1_000;
/** Different entries that are gathered; those beyond are counted in one without tenant. */
const MAX_GATHERED = 500;
const SCAN = 1_000;
/** Entries that one page looks at, at most. */
const MAX_SCANNED = 20_000;

/**
 * Who asked for what, when, and how it ended: a stream that is only ever appended to, capped by length and age. Requests that were let in
 * write theirs where they are counted; this writes those of all others, equal ones together, so that whoever is refused over and over
 * cannot push everything else out.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #key: string;
  readonly #gathered = new Map<string, { readonly entry: AuditEntry; count: number }>();
  readonly #closing = new AbortController();
  #writing: Promise<void> | undefined;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#key = accountKeys(options.prefix).audit;
  }

  /** Never throws; written within a second. */
  note(entry: AuditEntry): void {
    if (this.#options.maxEntries === 0) return;
    const { tenant, keyId, kind, status, code, subject } = entry;
    const name = JSON.stringify([tenant, keyId, kind, status, code, subject]);
    const known = this.#gathered.get(name);
    if (known) known.count += 1;
    else if (this.#gathered.size < MAX_GATHERED) this.#gathered.set(name, { entry, count: 1 });
    else this.#overflow();
    this.#writing ??= this.#writeSoon().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Entries in the order in which they were written. @throws AppError UNAVAILABLE, INVALID_ARGUMENT. */
  async page({ after, limit, tenant, fromMs, toMs }: AuditQuery): Promise<AuditPage> {
    let from = after === undefined ? (fromMs === undefined ? "-" : String(fromMs)) : `(${after}`;
    const to = toMs === undefined ? "+" : String(toMs);
    const lines: object[] = [];
    for (let scanned = 0; scanned < MAX_SCANNED; ) {
      const found = await this.#patiently(this.#options.redis.xrange(this.#key, from, to, "COUNT", SCAN));
      for (const [id, fields] of found) {
        const line = auditLine(id, fields);
        if (tenant === undefined || line["tenant"] === tenant) lines.push(line);
        from = `(${id}`;
        if (lines.length === limit) return { lines, next: id };
      }
      if (found.length < SCAN) return { lines };
      scanned += found.length;
    }
    return { lines, next: from.slice(1) };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
  }

  #overflow(): void {
    const entry = { tenant: "-", keyId: "-", kind: "many", requestId: "-", status: 0 };
    const known = this.#gathered.get("");
    if (known) known.count += 1;
    else this.#gathered.set("", { entry, count: 1 });
  }

  async #writeSoon(): Promise<void> {
    const { clock, redis, logger, maxEntries, maxDays } = this.#options;
    while (this.#gathered.size > 0) {
      await clock.sleep(GATHER_MS, this.#closing.signal).catch(() => undefined);
      const entries = [...this.#gathered.values()];
      this.#gathered.clear();
      const pipeline = redis.pipeline();
      for (const { entry, count } of entries) {
        const fields = auditFields(count > 1 ? { ...entry, count } : entry);
        pipeline.xadd(this.#key, "MAXLEN", "~", maxEntries, "*", ...fields);
      }
      pipeline.xtrim(this.#key, "MINID", "~", String(clock.nowMs() - maxDays * DAY_MS));
      try {
        await this.#patiently(pipeline.exec());
      } catch (error) {
        logger.error({ err: AppError.from(error), entries: entries.length }, "entries of the audit log were lost");
      }
    }
  }

  #patiently<T>(work: Promise<T>): Promise<T> {
    return patiently(work, { clock: this.#options.clock, patienceMs: PATIENCE_MS });
  }
}
