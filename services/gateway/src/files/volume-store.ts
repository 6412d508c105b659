import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AppError, invariant } from "@moiety/core";
import type { FileStore } from "./file-store.js";

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
/** No write takes as long. */
const LEFT_OVER_MS = 86_400_000;
const CHUNK_BYTES = 262_144;

/** Whether an error came from the volume, and not from what was written to it. */
const isFault = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && !(error instanceof AppError) && "syscall" in error;

function storeFault(error: unknown): unknown {
  if (!isFault(error)) return error;
  if (error.code === "ENOENT") return new AppError("NOT_FOUND", "there is no such file", { cause: error });
  return new AppError("UNAVAILABLE", `the volume of files failed: ${error.code}`, { cause: error });
}

/** Files in a folder, which all gateways share. A file is written beside its place, forced to the disk, and moved there. */
export class VolumeStore implements FileStore {
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /** @throws AppError INVALID_ARGUMENT when the folder cannot be made or written. */
  static async open(directory: string): Promise<VolumeStore> {
    const store = new VolumeStore(resolve(directory));
    try {
      await mkdir(store.#incoming, { recursive: true, mode: 0o700 });
      const probe = join(store.#incoming, randomUUID());
      await (await open(probe, "wx", 0o600)).close();
      await rm(probe);
    } catch (error) {
      throw new AppError("INVALID_ARGUMENT", `MOIETY_FILES_DIR: files cannot be written to ${store.#root}`, { cause: error });
    }
    return store;
  }

  async put(name: string, source: AsyncIterable<Uint8Array | string>): Promise<number> {
    const target = this.#path(name);
    const draft = join(this.#incoming, randomUUID());
    try {
      const file = createWriteStream(draft, { flags: "wx", mode: 0o600, highWaterMark: CHUNK_BYTES, flush: true });
      await pipeline(Readable.from(source, { objectMode: true }), file);
      const made = await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await rename(draft, target);
      await syncFolders(dirname(target), made === undefined ? dirname(target) : dirname(made));
      return file.bytesWritten;
    } catch (error) {
      await rm(draft, { force: true }).catch(() => undefined);
      throw storeFault(error);
    }
  }

  async read(name: string, fromByte = 0): Promise<Readable> {
    try {
      const handle = await open(this.#path(name), "r");
      return handle.createReadStream({ start: fromByte, highWaterMark: CHUNK_BYTES });
    } catch (error) {
      throw storeFault(error);
    }
  }

  async remove(name: string): Promise<void> {
    await this.#remove(this.#path(name));
  }

  async removeFolder(folder: string): Promise<void> {
    await this.#remove(this.#path(folder));
  }

  async tidy(nowMs: number): Promise<void> {
    try {
      for (const name of await readdir(this.#incoming)) {
        const path = join(this.#incoming, name);
        const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: nowMs }));
        if (nowMs - mtimeMs > LEFT_OVER_MS) await rm(path, { force: true });
      }
    } catch (error) {
      throw storeFault(error);
    }
  }

  get #incoming(): string {
    return join(this.#root, "incoming");
  }

  #path(name: string): string {
    invariant(NAME.test(name) && !name.startsWith("incoming/"), "a stored name leads nowhere else");
    return join(this.#root, name);
  }

  async #remove(path: string): Promise<void> {
    try {
      await rm(path, { recursive: true, force: true });
    } catch (error) {
      throw storeFault(error);
    }
  }
}

/** A new name survives a loss of power only once its folder is on the disk, and that folder's name once the one above it is. */
async function syncFolders(folder: string, highest: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (folder !== highest) await syncFolders(dirname(folder), highest);
}
