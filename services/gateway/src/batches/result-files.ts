import { createHash, randomUUID } from "node:crypto";
import { AppError, type Clock, type TenantId } from "@moiety/core";
import {
  type BatchClaim,
  type BatchId,
  type FileId,
  type Ledgers,
  type LineResult,
  NO_FILE_LIMITS,
  parseFileId,
} from "@moiety/queue";
import type { FileStore } from "../files/file-store.js";
import { contentName, UPLOADED } from "../files/stored-file.js";

type Kind = "output" | "error";
const KIND_OF = { completed: "output", failed: "error" } as const satisfies Record<LineResult["outcome"], Kind>;
/** How the ledger marks what kind of file a result goes into. */
const MARK = { output: "O", error: "E" } as const satisfies Record<Kind, string>;

const SEAL_RESULTS = 1_000;
const CHUNK_LENGTH = 65_536;

export interface ResultFilesOptions {
  readonly ledgers: Ledgers;
  readonly store: FileStore;
  readonly clock: Clock;
  readonly claim: BatchClaim;
  readonly tenant: TenantId;
  readonly outputLifeMs: number;
}

/** As the ledger keeps a result. */
export const markResult = (result: LineResult): LineResult => ({ ...result, text: MARK[KIND_OF[result.outcome]] + result.text });

const folderOf = (batch: BatchId): string => `batches/${batch}`;

/** Removes all that a batch has kept in the store for its own use. */
export const removeSegments = (store: FileStore, batch: BatchId): Promise<void> => store.removeFolder(folderOf(batch));

/** The same whoever writes it, so that there is one of it. */
function resultFileId(batch: BatchId, kind: Kind): FileId {
  return parseFileId(`file-${createHash("sha256").update(`${batch}/${kind}`).digest("hex").slice(0, 24)}`);
}

/**
 * The results of one batch on their way into files. The ledger holds them one by one; from time to time they are sealed into a segment in the store,
 * so that a large batch does not stay in Redis' memory; at the end segments and rest are written one after the other into a file.
 */
export class ResultFiles {
  readonly #options: ResultFilesOptions;

  constructor(options: ResultFilesOptions) {
    this.#options = options;
  }

  /** Moves what the ledger holds into the store. A segment counts once the ledger names it. False: the claim is lost. */
  async seal(): Promise<boolean> {
    const { ledgers, store, claim } = this.#options;
    const results = [...(await ledgers.batches.unsealed(claim.id))].slice(0, SEAL_RESULTS);
    if (results.length === 0) return true;
    const names: string[] = [];
    for (const kind of ["output", "error"] as const) {
      const texts = results.filter(([, text]) => text.startsWith(MARK[kind])).map(([, text]) => `${text.slice(1)}\n`);
      if (texts.length === 0) continue;
      // A name of its own each time: whoever lost the batch and still writes replaces no segment that counts.
      const name = `${randomUUID()}.${kind}`;
      await store.put(`${folderOf(claim.id)}/${name}`, inChunks(texts));
      names.push(name);
    }
    const lines = results.map(([line]) => line);
    return ledgers.batches.seal(claim, names, lines);
  }

  /**
   * Writes a file of all results of a kind, `more` after them, and makes it visible. Repeatable: the first to finish counts. A former holder
   * that comes late, when the ledger has long been emptied, replaces nothing.
   */
  async write(kind: Kind, more?: AsyncIterable<string>): Promise<FileId> {
    const { ledgers, store, clock, claim, tenant, outputLifeMs } = this.#options;
    const id = resultFileId(claim.id, kind);
    const createdAtMs = clock.nowMs();
    if ((await ledgers.files.find(id, tenant, createdAtMs)) !== undefined) return id;
    await ledgers.files.reserve({ id, tenant, nowMs: createdAtMs, limits: NO_FILE_LIMITS });
    const place = randomUUID();
    const bytes = await store.put(contentName(id, place), this.#contents(kind, more));
    const expiresAtMs = createdAtMs + outputLifeMs;
    const name = `${claim.id}_${kind}.jsonl`;
    const file = { id, tenant, name, purpose: "batch_output", bytes, place, createdAtMs, expiresAtMs };
    if (!(await ledgers.files.commit(file, NO_FILE_LIMITS))) await store.remove(contentName(id, place));
    return id;
  }

  async *#contents(kind: Kind, more: AsyncIterable<string> | undefined): AsyncGenerator<Uint8Array | string> {
    const { ledgers, store, claim } = this.#options;
    for (const name of await ledgers.batches.segments(claim.id)) {
      if (name.endsWith(`.${kind}`)) yield* await store.read(`${folderOf(claim.id)}/${name}`);
    }
    const rest = [...(await ledgers.batches.unsealed(claim.id)).values()].filter((text) => text.startsWith(MARK[kind]));
    yield* inChunks(rest.map((text) => `${text.slice(1)}\n`));
    if (more) yield* inChunks(more);
  }
}

/** Joins short texts, so that each is not written by itself. */
async function* inChunks(texts: Iterable<string> | AsyncIterable<string>): AsyncGenerator<string> {
  let chunk = "";
  for await (const text of texts) {
    chunk += text;
    if (chunk.length < CHUNK_LENGTH) continue;
    yield chunk;
    chunk = "";
  }
  if (chunk !== "") yield chunk;
}

/** Reads an uploaded file. @throws AppError DATA_LOSS when the ledger names it and the store has it not. */
export async function* readUpload(store: FileStore, id: FileId, fromByte = 0): AsyncGenerator<Uint8Array> {
  try {
    yield* await store.read(contentName(id, UPLOADED), fromByte);
  } catch (error) {
    const fault = AppError.from(error, "UNAVAILABLE");
    if (fault.code !== "NOT_FOUND") throw fault;
    throw new AppError("DATA_LOSS", "a stored file is not in the store", { details: { file: id }, cause: error });
  }
}
