/** Smaller blocks share slabs and are not kept. */
const SMALLEST_BYTES = 4_096;
const SLAB_BYTES = 1024 * 1024;
/** Blocks that wait for their next use, all sizes together. */
const MAX_SPARE_BYTES = 64 * 1024 * 1024;
/** Slab pieces begin at multiples of this. */
const ALIGNMENT_BYTES = 64;

/**
 * Memory of outgoing messages. A block that is given back is used again: fresh memory costs a page fault for every 4 KiB, and
 * an ArrayBuffer for each message has the garbage collector run every few calls.
 */
export class SpareMemory {
  readonly #blocks = new Map<number, Buffer[]>();
  #spareBytes = 0;
  #slab = Buffer.alloc(0);
  #slabUsed = 0;

  /** Bytes that wait for their next use. */
  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** Uninitialised memory of so many bytes or more, which begins at a multiple of 64 within its ArrayBuffer. */
  take(lengthBytes: number): Buffer {
    if (lengthBytes < SMALLEST_BYTES) return this.#takeSmall(lengthBytes);
    const sizeBytes = 2 ** Math.ceil(Math.log2(lengthBytes));
    const block = this.#blocks.get(sizeBytes)?.pop();
    if (block === undefined) return Buffer.allocUnsafeSlow(sizeBytes);
    this.#spareBytes -= sizeBytes;
    return block;
  }

  /** To be called at most once for each `take`, when nobody reads the memory any more. */
  giveBack(block: Buffer): void {
    const sizeBytes = block.length;
    if (sizeBytes < SMALLEST_BYTES || this.#spareBytes + sizeBytes > MAX_SPARE_BYTES) return;
    const blocks = this.#blocks.get(sizeBytes);
    if (blocks === undefined) this.#blocks.set(sizeBytes, [block]);
    else blocks.push(block);
    this.#spareBytes += sizeBytes;
  }

  #takeSmall(lengthBytes: number): Buffer {
    if (this.#slabUsed + lengthBytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    const start = this.#slabUsed;
    this.#slabUsed += Math.ceil(lengthBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return this.#slab.subarray(start, start + lengthBytes);
  }
}
