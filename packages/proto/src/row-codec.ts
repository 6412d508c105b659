import { AppError, ERROR_CODES, type ErrorCode } from "@moiety/core";
import type { DispatchRows, ResultRows } from "./generated/moiety/v1/expert.js";
import { RowFrame } from "./row-frame.js";
import { WireReader } from "./wire-reader.js";

/** Longest error text that travels in a result, in UTF-8 bytes. */
export const MAX_ERROR_BYTES = 2_048;

/** UTF-8 bytes that one UTF-16 unit can take. */
const MAX_BYTES_PER_UNIT = 3;

const fixed32 = (field: number) => (field << 3) | 5;
const bytes = (field: number) => (field << 3) | 2;

const DISPATCH_HEADER = [1, 2, 3, 4, 5].map(fixed32);
const RESULT_HEADER = [1, 2, 3, 4, 5, 6].map(fixed32);
const EMPTY = Buffer.alloc(0);

export type DispatchHeader = Pick<DispatchRows, "callId" | "epoch" | "layer">;
export type ResultHeader = Pick<ResultRows, "callId" | "epoch" | "queueUs" | "computeUs">;

export interface DispatchFrameSpec {
  readonly rowCount: number;
  readonly pairCount: number;
  /** Bytes of one row. */
  readonly rowBytes: number;
}

/** An outgoing call, whose rows and pairs are written in place. Single use. */
export class DispatchFrame {
  readonly rowCount: number;
  readonly pairCount: number;
  readonly #frame: RowFrame;

  constructor(spec: DispatchFrameSpec) {
    this.rowCount = spec.rowCount;
    this.pairCount = spec.pairCount;
    this.#frame = new RowFrame({
      headerTags: DISPATCH_HEADER,
      leading: { tag: bytes(6), lengthBytes: spec.pairCount * 4 },
      rowsTag: bytes(7),
      rowsBytes: spec.rowCount * spec.rowBytes,
    });
  }

  /** `[rowCount, rowBytes]`, to be written. */
  get rows(): Buffer {
    return this.#frame.rows;
  }

  /** `[pairCount]` of (u16 row, u16 expert), to be written with {@link setPair}. */
  get pairs(): Buffer {
    return this.#frame.leading;
  }

  setPair(index: number, row: number, expert: number): void {
    const pairs = this.#frame.leading;
    pairs.writeUInt16LE(row, index * 4);
    pairs.writeUInt16LE(expert, index * 4 + 2);
  }

  encode(header: DispatchHeader): Buffer {
    return this.#frame.encode([header.callId, header.epoch, header.layer, this.rowCount, this.pairCount]);
  }
}

/** An outgoing answer, whose rows a kernel writes in place. Single use. */
export class ResultFrame {
  readonly rowCount: number;
  readonly #frame: RowFrame;

  constructor(spec: { readonly rowCount: number; readonly rowBytes: number }) {
    this.rowCount = spec.rowCount;
    this.#frame = new RowFrame({
      headerTags: RESULT_HEADER,
      rowsTag: bytes(8),
      rowsBytes: spec.rowCount * spec.rowBytes,
    });
  }

  /** `[rowCount, rowBytes]`, to be written. */
  get rows(): Buffer {
    return this.#frame.rows;
  }

  encode(header: ResultHeader): Buffer {
    return this.#frame.encode([header.callId, 0, header.epoch, this.rowCount, header.queueUs, header.computeUs]);
  }
}

/** What the attention worker's stream takes: a frame and the header that only the link knows. */
export interface OutgoingDispatch {
  readonly header: DispatchHeader;
  readonly frame: DispatchFrame;
}

/** What the expert worker's stream takes: rows, or why there are none. */
export type OutgoingResult =
  | { readonly kind: "rows"; readonly header: ResultHeader; readonly frame: ResultFrame }
  | { readonly kind: "error"; readonly header: ResultHeader; readonly code: ErrorCode; readonly message: string };

export function encodeDispatch(message: OutgoingDispatch): Buffer {
  return message.frame.encode(message.header);
}

export function encodeResult(message: OutgoingResult): Buffer {
  return message.kind === "rows" ? message.frame.encode(message.header) : encodeError(message);
}

function encodeError(message: Extract<OutgoingResult, { kind: "error" }>): Buffer {
  const { header } = message;
  const text = Buffer.from(clip(message.message));
  const frame = new RowFrame({
    headerTags: RESULT_HEADER,
    leading: { tag: bytes(7), lengthBytes: text.length },
    rowsTag: bytes(8),
    rowsBytes: 0,
  });
  text.copy(frame.leading);
  return frame.encode([header.callId, ERROR_CODES[message.code], header.epoch, 0, header.queueUs, header.computeUs]);
}

function clip(text: string): string {
  if (Buffer.byteLength(text) <= MAX_ERROR_BYTES) return text;
  return text.slice(0, Math.floor(MAX_ERROR_BYTES / MAX_BYTES_PER_UNIT));
}

/**
 * Reads one call. `pairs` and `rows` are views of `input`; unknown fields are skipped. Numbers are not checked against each other.
 * @throws AppError INVALID_ARGUMENT for bytes that are not such a message.
 */
export function decodeDispatch(input: Buffer): DispatchRows {
  const reader = new WireReader(input, "DispatchRows");
  const message: DispatchRows = { callId: 0, epoch: 0, layer: 0, rowCount: 0, pairCount: 0, pairs: EMPTY, rows: EMPTY };
  while (!reader.done) {
    const tag = reader.tag();
    switch (tag) {
      case 0x0d:
        message.callId = reader.fixed32();
        break;
      case 0x15:
        message.epoch = reader.fixed32();
        break;
      case 0x1d:
        message.layer = reader.fixed32();
        break;
      case 0x25:
        message.rowCount = reader.fixed32();
        break;
      case 0x2d:
        message.pairCount = reader.fixed32();
        break;
      case 0x32:
        message.pairs = reader.bytes();
        break;
      case 0x3a:
        message.rows = reader.bytes();
        break;
      default:
        reader.skip(tag);
    }
  }
  return message;
}

/**
 * Reads one answer. `rows` is a view of `input`; unknown fields are skipped. Numbers are not checked against each other.
 * @throws AppError INVALID_ARGUMENT for bytes that are not such a message, or an error text beyond {@link MAX_ERROR_BYTES}.
 */
export function decodeResult(input: Buffer): ResultRows {
  const reader = new WireReader(input, "ResultRows");
  const message: ResultRows = {
    callId: 0,
    code: 0,
    epoch: 0,
    rowCount: 0,
    queueUs: 0,
    computeUs: 0,
    error: "",
    rows: EMPTY,
  };
  while (!reader.done) {
    const tag = reader.tag();
    switch (tag) {
      case 0x0d:
        message.callId = reader.fixed32();
        break;
      case 0x15:
        message.code = reader.fixed32();
        break;
      case 0x1d:
        message.epoch = reader.fixed32();
        break;
      case 0x25:
        message.rowCount = reader.fixed32();
        break;
      case 0x2d:
        message.queueUs = reader.fixed32();
        break;
      case 0x35:
        message.computeUs = reader.fixed32();
        break;
      case 0x3a:
        message.error = errorText(reader.bytes());
        break;
      case 0x42:
        message.rows = reader.bytes();
        break;
      default:
        reader.skip(tag);
    }
  }
  return message;
}

function errorText(text: Buffer): string {
  if (text.length > MAX_ERROR_BYTES) {
    throw new AppError("INVALID_ARGUMENT", `ResultRows: error is longer than ${MAX_ERROR_BYTES} bytes`);
  }
  return text.toString("utf8");
}
