import { randomBytes } from "node:crypto";
import { AppError, type Branded, parseTenantId, type TenantId } from "@moiety/core";
import type { Redis } from "ioredis";
import type { LedgerKeys } from "../ledger-keys.js";
import { type Page, type PageQuery, pageOfIds } from "../page.js";
import { asArray } from "../redis-script.js";
import { commitScript, forgetScript, hideScript, reserveScript } from "./file-scripts.js";

export type FileId = Branded<"FileId">;

const FILE_ID = /^file-[0-9a-f]{24}$/;

/** @throws AppError NOT_FOUND for what no file can be called. */
export function parseFileId(text: string): FileId {
  if (FILE_ID.test(text)) return text as FileId;
  throw new AppError("NOT_FOUND", "there is no such file");
}

export const newFileId = (): FileId => parseFileId(`file-${randomBytes(12).toString("hex")}`);

/** What is known of a stored file; its bytes lie elsewhere. */
export interface FileRecord {
  readonly id: FileId;
  readonly tenant: TenantId;
  readonly name: string;
  readonly purpose: string;
  readonly bytes: number;
  /** Which of the contents that were stored for it is its own. */
  readonly place: string;
  readonly createdAtMs: number;
  /** Absent: kept until it is deleted. */
  readonly expiresAtMs?: number;
}

export interface FileQuery extends PageQuery {
  /** Absent: of any. */
  readonly purpose?: string;
  readonly nowMs: number;
}

/** How much a tenant may keep. */
export interface FileLimits {
  readonly files: number;
  readonly bytes: number;
}

/** For what the server itself stores: refusing it would lose results. */
export const NO_FILE_LIMITS: FileLimits = { files: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER };

export type FileRemoval = "hidden" | "in-use" | "not-found";

/** An upload that has not ended by then never will. */
const UPLOAD_MS = 6 * 3_600_000;
const IN_USE_MS = 600_000;
const SWEEP_COUNT = 64;
/** Files that a filter passes over before a page is given as it is. */
const SCAN_PAGE = 256;

/**
 * Which files there are and whose they are, in Redis. A file is noted before its bytes are stored and hidden before they are removed,
 * so that whoever dies in between leaves nothing that {@link due} does not name.
 */
export class FileIndex {
  readonly #redis: Redis;
  readonly #keys: LedgerKeys;

  constructor(redis: Redis, keys: LedgerKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Announces an upload. Idempotent. @throws AppError RESOURCE_EXHAUSTED when the tenant has no room. */
  async reserve(file: {
    readonly id: FileId;
    readonly tenant: TenantId;
    readonly nowMs: number;
    readonly limits: FileLimits;
  }): Promise<void> {
    const { id, tenant, nowMs, limits } = file;
    const answer = await reserveScript.run(this.#redis, this.#fileKeys(id, tenant), [
      ...[id, tenant, nowMs + UPLOAD_MS, limits.files, limits.bytes],
      ...["reservedAt", nowMs],
    ]);
    checkRoom(asArray(answer), limits);
  }

  /**
   * Makes a file visible whose bytes are stored. Idempotent. False: somebody else was first, and the file has the bytes of another place.
   * @throws AppError RESOURCE_EXHAUSTED when the tenant has no room; NOT_FOUND when its upload took too long.
   */
  async commit(file: FileRecord, limits: FileLimits): Promise<boolean> {
    const answer = asArray(
      await commitScript.run(this.#redis, this.#fileKeys(file.id, file.tenant), [
        ...[file.id, file.tenant, file.bytes, file.createdAtMs, file.expiresAtMs ?? "", limits.files, limits.bytes],
        ...[file.place, "name", file.name, "purpose", file.purpose],
      ]),
    );
    if (answer[0] === -1) throw new AppError("NOT_FOUND", "the file was not stored in time; upload it again");
    checkRoom(answer, limits);
    return answer[0] === 1;
  }

  async find(id: FileId, tenant: TenantId, nowMs: number): Promise<FileRecord | undefined> {
    const file = decodeFile(id, await this.#redis.hgetall(this.#keys.file(id)));
    return file !== undefined && file.tenant === tenant && !isExpired(file, nowMs) ? file : undefined;
  }

  /** Undefined when `after` is not a file of this tenant. */
  async list(tenant: TenantId, query: FileQuery): Promise<Page<FileRecord> | undefined> {
    const { limit, order, purpose, nowMs, after: given } = query;
    const found: FileRecord[] = [];
    let after = given;
    for (;;) {
      const scan = Math.max(limit + 1 - found.length, purpose === undefined ? 1 : SCAN_PAGE);
      const ids = { order, limit: scan, ...(after === undefined ? {} : { after }) };
      const page = await pageOfIds(this.#redis, this.#keys.filesOf(tenant), ids);
      if (page === undefined) return after === given ? undefined : { items: found, hasMore: false };
      const files = await this.#readAll(page.items);
      found.push(...files.filter((file) => !isExpired(file, nowMs) && (purpose ?? file.purpose) === file.purpose));
      if (found.length > limit) return { items: found.slice(0, limit), hasMore: true };
      if (!page.hasMore) return { items: found, hasMore: false };
      after = page.items.at(-1);
    }
  }

  /** Hides a file: from then on only its bytes are left, for {@link forget}. */
  hide(id: FileId, tenant: TenantId, nowMs: number): Promise<FileRemoval> {
    return this.#hide(id, tenant, nowMs);
  }

  /** Hides a file of whatever state: one whose upload failed. */
  async abandon(id: FileId, nowMs: number): Promise<void> {
    await this.#hide(id, "", nowMs);
  }

  /** Files whose time has come, hidden: their bytes are to be removed, and they are then to be forgotten. */
  async due(nowMs: number): Promise<readonly FileId[]> {
    const ids = await this.#redis.zrangebyscore(this.#keys.filesDue, "-inf", nowMs, "LIMIT", 0, SWEEP_COUNT);
    const hidden: FileId[] = [];
    for (const id of ids.map(parseFileId)) if ((await this.#hide(id, "", nowMs)) === "hidden") hidden.push(id);
    return hidden;
  }

  /** The last of a hidden file. */
  async forget(id: FileId): Promise<void> {
    await forgetScript.run(this.#redis, [this.#keys.file(id), this.#keys.filesDue], [id]);
  }

  async #hide(id: FileId, tenant: TenantId | "", nowMs: number): Promise<FileRemoval> {
    const { file, fileBytes, filesDue, filesOf } = this.#keys;
    const lists = filesOf("" as TenantId);
    const answer = asArray(
      await hideScript.run(this.#redis, [file(id), fileBytes, filesDue], [id, tenant, nowMs, nowMs + IN_USE_MS, lists]),
    );
    return answer[0] === 1 ? "hidden" : answer[0] === 0 ? "in-use" : "not-found";
  }

  async #readAll(ids: readonly string[]): Promise<readonly FileRecord[]> {
    const pipeline = this.#redis.pipeline();
    for (const id of ids) pipeline.hgetall(this.#keys.file(id as FileId));
    const answers = (await pipeline.exec()) ?? [];
    return answers.flatMap(([error, fields], index) => {
      if (error) throw AppError.from(error, "UNAVAILABLE");
      return decodeFile(ids[index] as FileId, fields as Record<string, string>) ?? [];
    });
  }

  #fileKeys(id: FileId, tenant: TenantId): readonly string[] {
    const { file, filesOf, fileBytes, filesDue } = this.#keys;
    return [file(id), filesOf(tenant), fileBytes, filesDue];
  }
}

const isExpired = (file: FileRecord, nowMs: number): boolean => file.expiresAtMs !== undefined && file.expiresAtMs <= nowMs;

function decodeFile(id: FileId, fields: Readonly<Record<string, string>>): FileRecord | undefined {
  if (fields["state"] !== "ready") return undefined;
  const expiresAt = fields["expiresAt"] ?? "";
  return {
    id,
    tenant: parseTenantId(fields["tenant"] ?? ""),
    name: fields["name"] ?? "",
    purpose: fields["purpose"] ?? "",
    bytes: Number(fields["bytes"]),
    place: fields["place"] ?? "",
    createdAtMs: Number(fields["createdAt"]),
    ...(expiresAt === "" ? {} : { expiresAtMs: Number(expiresAt) }),
  };
}

function checkRoom(answer: readonly unknown[], limits: FileLimits): void {
  if (answer[0] !== 0) return;
  const [, files, bytes] = answer.map(Number);
  throw new AppError(
    "RESOURCE_EXHAUSTED",
    `there is no room for this file beside ${files} files of ${bytes} bytes: at most ${limits.files} files of ${limits.bytes} bytes ` +
      "in all; delete some",
    { retryable: false, details: { files, bytes } },
  );
}
