import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { type PlannedTensor, plannedBytes } from "../checkpoint/tensor-plan.js";
import { fromFileError } from "../json/file-error.js";
import type { TensorPart, TensorSource } from "./tensor-source.js";

const DTYPE_NAME = { bf16: "BF16", u8: "U8", f32: "F32" } as const;

/** The length and header of a safetensors file with these tensors in this order; its data begins at a multiple of 8. */
export function encodeSafetensorsHeader(tensors: readonly PlannedTensor[]): Buffer {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const begin = end;
    end += plannedBytes(tensor);
    return [tensor.name, { dtype: DTYPE_NAME[tensor.dtype], shape: tensor.shape, data_offsets: [begin, end] }] as const;
  });
  const text = JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) });
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json]);
}

export interface WriteFileOptions {
  readonly path: string;
  readonly sources: readonly TensorSource[];
  /** Called after each piece with its bytes; what it throws stops the writing. */
  readonly onWritten: (bytes: number) => void;
}

/** Writes one file with at most two pieces in memory: one is made while the other is written. */
export async function writeSafetensors({ path, sources, onWritten }: WriteFileOptions): Promise<void> {
  try {
    const handle = await open(path, "wx");
    try {
      await handle.writeFile(encodeSafetensorsHeader(sources.map(({ tensor }) => tensor)));
      const pieces = new PieceWriter(handle, onWritten);
      for (const { parts } of sources) for (const part of parts) await writePart(part, pieces);
      await pieces.finish();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromFileError(error, basename(path));
  }
}

async function writePart({ lengthBytes, chunkBytes, fill }: TensorPart, pieces: PieceWriter): Promise<void> {
  for (let start = 0; start < lengthBytes; start += chunkBytes) {
    const bytes = Math.min(chunkBytes, lengthBytes - start);
    const words = pieces.nextBuffer(Math.ceil(bytes / 4));
    fill(words, start / 4);
    await pieces.write(new Uint8Array(words.buffer, 0, bytes));
  }
}

/** Alternates between two buffers. */
class PieceWriter {
  readonly #handle: FileHandle;
  readonly #onWritten: (bytes: number) => void;
  #buffers: [Uint32Array<ArrayBuffer>, Uint32Array<ArrayBuffer>] = [new Uint32Array(0), new Uint32Array(0)];
  #pending: Promise<number> = Promise.resolve(0);

  constructor(handle: FileHandle, onWritten: (bytes: number) => void) {
    this.#handle = handle;
    this.#onWritten = onWritten;
  }

  nextBuffer(words: number): Uint32Array<ArrayBuffer> {
    const [next, other] = this.#buffers;
    const buffer = next.length < words ? new Uint32Array(words) : next;
    this.#buffers = [other, buffer];
    return buffer.subarray(0, words);
  }

  /** Resolves when the piece before has been written. */
  async write(piece: Uint8Array): Promise<void> {
    await this.finish();
    this.#pending = writeAll(this.#handle, piece);
    // A fault is reported by the next await; until then it must not count as unhandled.
    this.#pending.catch(() => undefined);
  }

  async finish(): Promise<void> {
    const bytes = await this.#pending;
    this.#pending = Promise.resolve(0);
    if (bytes > 0) this.#onWritten(bytes);
  }
}

async function writeAll(handle: FileHandle, piece: Uint8Array): Promise<number> {
  let at = 0;
  while (at < piece.length) at += (await handle.write(piece, at, piece.length - at)).bytesWritten;
  return piece.length;
}
