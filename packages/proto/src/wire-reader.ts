import { AppError } from "@moiety/core";

/** How a field's value is laid out (protobuf's wire types; groups do not exist here). */
const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;

/**
 * Walks the fields of one flat protobuf message without copying. Whatever the bytes are, it reads within them, ends, and throws
 * nothing but AppError INVALID_ARGUMENT.
 */
export class WireReader {
  readonly #bytes: Buffer;
  readonly #message: string;
  #at = 0;

  /** `message` names the message in errors. */
  constructor(bytes: Buffer, message: string) {
    this.#bytes = bytes;
    this.#message = message;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** A field's number and wire type, as protobuf packs them. */
  tag(): number {
    const tag = this.#varint();
    if (tag > 0xffff_ffff || tag >>> 3 === 0) this.#fail("a field number is out of range");
    return tag;
  }

  fixed32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4));
  }

  /** A view of the message's own memory. */
  bytes(): Buffer {
    const length = this.#varint();
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  skip(tag: number): void {
    switch (tag & 7) {
      case WIRE_VARINT:
        this.#varint();
        return;
      case WIRE_FIXED64:
        this.#advance(8);
        return;
      case WIRE_BYTES:
        this.#advance(this.#varint());
        return;
      case WIRE_FIXED32:
        this.#advance(4);
        return;
      default:
        this.#fail(`wire type ${tag & 7} is not accepted`);
    }
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let read = 0; read < 10; read += 1) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) this.#fail("it ends within a number");
      this.#at += 1;
      value += ((byte as number) & 0x7f) * scale;
      if ((byte as number) < 0x80) return value;
      scale *= 128;
    }
    return this.#fail("a number is longer than 10 bytes");
  }

  #advance(count: number): number {
    const start = this.#at;
    if (count > this.#bytes.length - start) this.#fail("it ends within a field");
    this.#at = start + count;
    return start;
  }

  #fail(reason: string): never {
    throw new AppError("INVALID_ARGUMENT", `${this.#message}: ${reason}`, { details: { offset: this.#at } });
  }
}

/** Bytes that a varint takes. */
export function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) length += 1;
  return length;
}

/** Writes a varint and returns the offset after it. */
export function writeVarint(target: Buffer, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[at++] = rest;
  return at;
}
