import { randomBytes } from "node:crypto";
import { AppError, type Branded, parseTenantId, type TenantId } from "@moiety/core";
import type { Redis } from "ioredis";
import type { FileId } from "../files/file-index.js";
import type { LedgerKeys } from "../ledger-keys.js";
import { type Page, type PageQuery, pageOfIds } from "../page.js";
import { asArray, asText } from "../redis-script.js";
import * as scripts from "./batch-scripts.js";

export type BatchId = Branded<"BatchId">;

const BATCH_ID = /^batch_[0-9a-f]{24}$/;

/** @throws AppError NOT_FOUND for what no batch can be called. */
export function parseBatchId(text: string): BatchId {
  if (BATCH_ID.test(text)) return text as BatchId;
  throw new AppError("NOT_FOUND", "there is no such batch");
}

export const newBatchId = (): BatchId => parseBatchId(`batch_${randomBytes(12).toString("hex")}`);

/** Tokens of the lines that have a result. */
export interface TokenCounts {
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly reasoning: number;
}

/** A batch as it is stored. What the document says is its writer's affair. */
export interface StoredBatch {
  readonly id: BatchId;
  readonly tenant: TenantId;
  readonly document: string;
  /** Grows with every change of the document. */
  readonly version: number;
  /** Lines that have a result, by their outcome. */
  readonly completed: number;
  readonly failed: number;
  readonly tokens: TokenCounts;
}

/** A batch in one process's hands. Whoever claims it later has a higher fence, and from then on this one changes nothing. */
export interface BatchClaim {
  readonly id: BatchId;
  readonly fence: string;
  readonly token: string;
  /** Whether an earlier holder died, or lost it. */
  readonly isTakeover: boolean;
}

export interface LineResult {
  /** Number of the line in the input, from 1. */
  readonly line: number;
  readonly outcome: "completed" | "failed";
  readonly text: string;
  readonly tokens: TokenCounts;
}

export interface BatchChange {
  readonly id: BatchId;
  readonly inputFileId: FileId;
  /** Of the document that this one replaces. */
  readonly version: number;
  /** Absent: whoever holds the batch. */
  readonly fence?: string;
  readonly document: string;
  /** Whether lines may get results. */
  readonly accepts: boolean;
  readonly ended: boolean;
  readonly nowMs: number;
}

export type ChangeOutcome = "replaced" | "changed-meanwhile" | "fenced" | "gone";
export type RecordOutcome = "recorded" | "had-one" | "fenced" | "closed" | "gone";

/** How long an ended batch can still be looked at. */
const RETENTION_MS = 30 * 86_400_000;
/** Longer than any batch may take. */
const LONGEST_MS = 8 * 86_400_000;

/** Batches in Redis: who works on which, and which line has its result. */
export class BatchLedger {
  readonly #redis: Redis;
  readonly #keys: LedgerKeys;

  constructor(redis: Redis, keys: LedgerKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** @throws AppError RESOURCE_EXHAUSTED when the tenant has `maxOpen` open batches; NOT_FOUND when the input is not there. */
  async create(batch: {
    readonly id: BatchId;
    readonly tenant: TenantId;
    readonly inputFileId: FileId;
    readonly createdAtMs: number;
    readonly document: string;
    readonly maxOpen: number;
  }): Promise<void> {
    const { id, tenant, createdAtMs, document, maxOpen } = batch;
    const { open, openOf } = this.#keys;
    const keys = [this.#keys.batch(id), this.#keys.batchesOf(tenant), open, openOf, this.#keys.file(batch.inputFileId)];
    const forgottenMs = createdAtMs - RETENTION_MS - LONGEST_MS;
    const args = [id, tenant, createdAtMs, document, maxOpen, forgottenMs];
    const [answer, count] = asArray(await scripts.createScript.run(this.#redis, keys, args));
    if (answer === -1) throw new AppError("NOT_FOUND", "there is no such file", { details: { param: "input_file_id" } });
    if (answer === 0) {
      const message = `${Number(count)} batches have not ended, of at most ${maxOpen} at a time; wait for one, or cancel one`;
      throw new AppError("RESOURCE_EXHAUSTED", message, { details: { retryAfterMs: 60_000 } });
    }
  }

  async find(id: BatchId): Promise<StoredBatch | undefined> {
    return decodeBatch(id, await this.#redis.hgetall(this.#keys.batch(id)));
  }

  /** Undefined when `after` is not a batch of this tenant. */
  async list(tenant: TenantId, query: PageQuery): Promise<Page<StoredBatch> | undefined> {
    const page = await pageOfIds(this.#redis, this.#keys.batchesOf(tenant), query);
    if (page === undefined) return undefined;
    const pipeline = this.#redis.pipeline();
    for (const id of page.items) pipeline.hgetall(this.#keys.batch(id as BatchId));
    const answers = (await pipeline.exec()) ?? [];
    const items = answers.flatMap(([error, fields], index) => {
      if (error) throw AppError.from(error, "UNAVAILABLE");
      return decodeBatch(page.items[index] as BatchId, fields as Record<string, string>) ?? [];
    });
    return { items, hasMore: page.hasMore };
  }

  /** Batches that have not ended, of all tenants. */
  openCount(): Promise<number> {
    return this.#redis.zcard(this.#keys.open);
  }

  async replace(change: BatchChange): Promise<ChangeOutcome> {
    const { id, version, fence, document, accepts, ended, nowMs, inputFileId } = change;
    const { batch, open, openOf, file, lease, done, results, segments, litter } = this.#keys;
    const answer = await scripts.replaceScript.run(
      this.#redis,
      [batch(id), open, openOf, file(inputFileId), lease(id), done(id), results(id), segments(id), litter],
      [id, version, fence ?? "", document, accepts ? 1 : 0, ended ? 1 : 0, nowMs, RETENTION_MS],
    );
    const outcomes: Record<string, ChangeOutcome> = { "0": "replaced", "-1": "fenced", "-2": "changed-meanwhile" };
    return outcomes[asText(asArray(answer)[0])] ?? "gone";
  }

  /** An open batch that nobody works on: of the tenants that are worked for least, the oldest. It must be renewed before `leaseMs` are over. */
  async claim(options: { readonly leaseMs: number; readonly nowMs: number }): Promise<BatchClaim | undefined> {
    const { open, batch, lease } = this.#keys;
    const token = randomBytes(8).toString("hex");
    const args = [token, options.leaseMs, options.nowMs, batch(""), lease("")];
    const [id, fence, holder] = asArray(await scripts.claimScript.run(this.#redis, [open], args)).map(asText);
    if (id === undefined || fence === undefined) return undefined;
    return { id: parseBatchId(id), fence, token, isTakeover: (holder ?? "") !== "" };
  }

  /** The version of the document, as long as the claim stands. */
  async renew({ id, fence, token }: BatchClaim, leaseMs: number): Promise<number | undefined> {
    const keys = [this.#keys.batch(id), this.#keys.lease(id)];
    const [answer, version] = asArray(await scripts.renewScript.run(this.#redis, keys, [fence, token, leaseMs]));
    return answer === 0 ? Number(version) : undefined;
  }

  async release({ id, fence }: BatchClaim): Promise<void> {
    await scripts.releaseScript.run(this.#redis, [this.#keys.batch(id), this.#keys.lease(id)], [fence]);
  }

  /** Which lines have a result: bit n of the whole, the highest of a byte first, is line n. */
  async doneLines(id: BatchId): Promise<(line: number) => boolean> {
    const bits = (await this.#redis.getBuffer(this.#keys.done(id))) ?? Buffer.alloc(0);
    return (line) => ((bits[line >> 3] ?? 0) & (0x80 >> (line & 7))) !== 0;
  }

  /** Records a result for good, unless the line has one. `unsealed` counts the results that are in no segment yet. */
  async record(
    { id, fence }: BatchClaim,
    result: LineResult,
  ): Promise<{ readonly outcome: RecordOutcome; readonly unsealed: number }> {
    const { batch, done, results } = this.#keys;
    const { line, text, outcome, tokens } = result;
    const answer = asArray(
      await scripts.recordScript.run(
        this.#redis,
        [batch(id), done(id), results(id)],
        [fence, line, text, outcome, tokens.input, tokens.cached, tokens.output, tokens.reasoning],
      ),
    );
    const outcomes: Record<string, RecordOutcome> = { "0": "recorded", "1": "had-one", "-1": "fenced", "-2": "closed" };
    return { outcome: outcomes[asText(answer[0])] ?? "gone", unsealed: Number(answer[1] ?? 0) };
  }

  /** Results that are in no segment yet, by line. */
  async unsealed(id: BatchId): Promise<ReadonlyMap<number, string>> {
    const results = Object.entries(await this.#redis.hgetall(this.#keys.results(id)));
    return new Map(results.map(([line, text]) => [Number(line), text] as const).sort(([a], [b]) => a - b));
  }

  /** Replaces at most 1,000 results by the segments in the store that hold them. False: the claim is lost. */
  async seal({ id, fence }: BatchClaim, names: readonly string[], lines: readonly number[]): Promise<boolean> {
    const { batch, results, segments } = this.#keys;
    const keys = [batch(id), results(id), segments(id)];
    return asArray(await scripts.sealScript.run(this.#redis, keys, [fence, names.length, ...names, ...lines]))[0] === 0;
  }

  /** Names of the segments, in the order of their making. */
  segments(id: BatchId): Promise<readonly string[]> {
    return this.#redis.lrange(this.#keys.segments(id), 0, -1);
  }

  /** Ended batches whose segments are still in the store, and are to be removed. */
  async litter(): Promise<readonly BatchId[]> {
    return (await this.#redis.zrange(this.#keys.litter, 0, 31)).map(parseBatchId);
  }

  async forgetLitter(id: BatchId): Promise<void> {
    await this.#redis.zrem(this.#keys.litter, id);
  }
}

function decodeBatch(id: BatchId, fields: Readonly<Record<string, string>>): StoredBatch | undefined {
  const { document, tenant } = fields;
  if (document === undefined || tenant === undefined) return undefined;
  const count = (name: string) => Number(fields[name] ?? 0);
  return {
    id,
    tenant: parseTenantId(tenant),
    document,
    version: count("version"),
    completed: count("completed"),
    failed: count("failed"),
    tokens: { input: count("input"), cached: count("cached"), output: count("output"), reasoning: count("reasoning") },
  };
}
