/** Writes little-endian numbers and bytes one after the other into memory that grows. */
export class ByteWriter {
  #buffer: Buffer;
  #at = 0;

  constructor(expectedBytes: number) {
    this.#buffer = Buffer.allocUnsafe(expectedBytes);
  }

  u8(value: number): void {
    this.#at = this.#room(1).writeUInt8(value, this.#at);
  }

  u16(value: number): void {
    this.#at = this.#room(2).writeUInt16LE(value, this.#at);
  }

  u32(value: number): void {
    this.#at = this.#room(4).writeUInt32LE(value, this.#at);
  }

  f64(value: number): void {
    this.#at = this.#room(8).writeDoubleLE(value, this.#at);
  }

  ascii(text: string): void {
    this.#at += this.#room(text.length).write(text, this.#at, "latin1");
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length).set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** What was written; a view. */
  written(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  #room(bytes: number): Buffer {
    if (this.#at + bytes > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#at + bytes));
      this.#buffer.copy(larger, 0, 0, this.#at);
      this.#buffer = larger;
    }
    return this.#buffer;
  }
}
