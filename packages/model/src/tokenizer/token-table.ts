/** The bytes of every token, packed: two arrays instead of some hundred thousand small ones. */
export class TokenTable {
  /** One more than the largest id. */
  readonly size: number;
  readonly #bytes: Uint8Array;
  /** Token id's bytes are `ends[id - 1] .. ends[id]`. */
  readonly #ends: Uint32Array;

  constructor(bytesById: readonly (Uint8Array | undefined)[]) {
    this.size = bytesById.length;
    this.#ends = new Uint32Array(bytesById.length);
    let total = 0;
    for (let id = 0; id < bytesById.length; id++) {
      total += bytesById[id]?.length ?? 0;
      this.#ends[id] = total;
    }
    this.#bytes = new Uint8Array(total);
    for (let id = 0; id < bytesById.length; id++) {
      const bytes = bytesById[id];
      if (bytes !== undefined) this.#bytes.set(bytes, (this.#ends[id] ?? 0) - bytes.length);
    }
  }

  /** Empty for an id without a token: models pad their vocabulary. */
  bytesOf(id: number): Uint8Array {
    return this.#bytes.subarray(id === 0 ? 0 : this.#ends[id - 1], this.#ends[id] ?? 0);
  }
}
