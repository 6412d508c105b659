import { invariant } from "@moiety/core";
import { SpareMemory } from "./spare-memory.js";
import { varintLength, writeVarint } from "./wire-reader.js";

/** Where rows begin, counted from gRPC's prefix: a multiple of this, so that a receiver can use them where they lie. */
export const ROW_ALIGNMENT_BYTES = 64;
/** gRPC puts so many bytes in front of every message, and receivers join them with it in one allocation. */
const GRPC_PREFIX_BYTES = 5;
/** A field that receivers skip; it moves the rows to their alignment. Every message here keeps number 15 free for it. */
const PADDING_TAG = (15 << 3) | 2;

/** One `bytes` or `string` field that precedes the rows. */
export interface LeadingField {
  readonly tag: number;
  readonly lengthBytes: number;
}

export interface RowFrameLayout {
  /** Tags of the fixed32 header fields, in the order in which `encode` is given their values. */
  readonly headerTags: readonly number[];
  /** A field with its value, before `leading`. */
  readonly optional?: { readonly tag: number; readonly value: Uint8Array } | undefined;
  readonly leading?: LeadingField;
  readonly rowsTag: number;
  readonly rowsBytes: number;
}

/** Frames of this process, all links together. */
const memoryOfFrames = new SpareMemory();

/**
 * The memory of one outgoing message: `[padding][header][leading field][rows]`. A kernel writes the rows in place and `encode`
 * fills in what stands before them, so that gRPC's own framing is the only copy. Single use.
 */
export class RowFrame {
  /** Empty when the rows are gathered from elsewhere. */
  readonly rows: Buffer;
  readonly leading: Buffer;
  readonly #memory: Buffer;
  readonly #layout: RowFrameLayout;
  readonly #headerStart: number;
  readonly #end: number;

  /** Without rows in place, `encode` gives what stands before them, to be followed by `rowsBytes` bytes. */
  constructor(layout: RowFrameLayout, rowsInPlace = true) {
    const { leading, optional, rowsBytes, headerTags } = layout;
    const optionalLength = optional === undefined ? 0 : fieldLength(optional.value.length);
    const leadingLength = leading === undefined ? 0 : fieldLength(leading.lengthBytes);
    const rowsHead = rowsBytes === 0 ? 0 : fieldLength(rowsBytes) - rowsBytes;
    const unpadded = GRPC_PREFIX_BYTES + headerTags.length * 5 + optionalLength + leadingLength + rowsHead;
    const padding = paddingFor(unpadded);
    const rowsStart = unpadded + padding;
    this.#layout = layout;
    this.#end = rowsStart + (rowsInPlace ? rowsBytes : 0);
    this.#memory = memoryOfFrames.take(this.#end);
    this.#headerStart = GRPC_PREFIX_BYTES + padding;
    this.rows = this.#memory.subarray(rowsStart, this.#end);
    const leadingEnd = rowsStart - rowsHead;
    this.leading = this.#memory.subarray(leadingEnd - (leading?.lengthBytes ?? 0), leadingEnd);
    this.#writePadding(padding);
  }

  /** Gives the memory to the next frame: to be called at most once, when neither a kernel nor gRPC uses it any more. */
  release(): void {
    memoryOfFrames.giveBack(this.#memory);
  }

  /** The message's bytes, a view of this frame. */
  encode(header: readonly number[]): Buffer {
    const { headerTags, optional, leading, rowsTag, rowsBytes } = this.#layout;
    invariant(header.length === headerTags.length, "one value for each header field");
    const memory = this.#memory;
    let at = this.#headerStart;
    for (let index = 0; index < header.length; index += 1) {
      memory[at] = headerTags[index] as number;
      memory.writeUInt32LE(header[index] as number, at + 1);
      at += 5;
    }
    if (optional !== undefined && optional.value.length > 0) {
      memory[at] = optional.tag;
      at = writeVarint(memory, at + 1, optional.value.length);
      memory.set(optional.value, at);
      at += optional.value.length;
    }
    if (leading !== undefined && leading.lengthBytes > 0) {
      memory[at] = leading.tag;
      at = writeVarint(memory, at + 1, leading.lengthBytes) + leading.lengthBytes;
    }
    if (rowsBytes > 0) {
      memory[at] = rowsTag;
      writeVarint(memory, at + 1, rowsBytes);
    }
    return memory.subarray(GRPC_PREFIX_BYTES, this.#end);
  }

  #writePadding(padding: number): void {
    if (padding === 0) return;
    this.#memory[GRPC_PREFIX_BYTES] = PADDING_TAG;
    this.#memory[GRPC_PREFIX_BYTES + 1] = padding - 2;
    this.#memory.fill(0, GRPC_PREFIX_BYTES + 2, GRPC_PREFIX_BYTES + padding);
  }
}

function fieldLength(lengthBytes: number): number {
  return lengthBytes === 0 ? 0 : 1 + varintLength(lengthBytes) + lengthBytes;
}

/** A padding field takes two bytes at least. */
function paddingFor(unpadded: number): number {
  const missing = (ROW_ALIGNMENT_BYTES - (unpadded % ROW_ALIGNMENT_BYTES)) % ROW_ALIGNMENT_BYTES;
  return missing === 1 ? missing + ROW_ALIGNMENT_BYTES : missing;
}
