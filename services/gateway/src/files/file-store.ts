import type { Readable } from "node:stream";

/**
 * Where the bytes of files lie: a volume that all gateways share, or whatever else can keep named bytes. Names are parts of `A-Z a-z 0-9 . _ -`
 * with slashes between them. Every fault of the place itself is an AppError UNAVAILABLE.
 */
export interface FileStore {
  /**
   * Stores a stream under a name, in place of what was there: all of it, or nothing. Returns its bytes.
   * @throws whatever the source throws.
   */
  put(name: string, source: AsyncIterable<Uint8Array | string>): Promise<number>;
  /** From a byte on; past the end there is nothing. @throws AppError NOT_FOUND. */
  read(name: string, fromByte?: number): Promise<Readable>;
  /** Does nothing when there is no such name. */
  remove(name: string): Promise<void>;
  /** Removes every name that begins with `folder/`. */
  removeFolder(folder: string): Promise<void>;
  /** Removes what writers that died have left, once it is old. */
  tidy(nowMs: number): Promise<void>;
}
