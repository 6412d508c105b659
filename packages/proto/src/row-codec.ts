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

/** What a call carries; the rows and pairs are read where they lie when gRPC takes the message. */
export interface DispatchContent {
  /** `[*, rowBytes]`. */
  readonly source: Uint8Array;
  readonly rowBytes: number;
  /** Rows of `source`, in the order in which they travel. */
  readonly rows: ArrayLike<number>;
  /** Per pair: which of `rows`. */
  readonly pairRows: ArrayLike<number>;
  /** Per pair. */
  readonly experts: ArrayLike<number>;
  /** Absent: the call is not traced. */
  readonly traceContext?: Uint8Array | undefined;
}

/** An encoded call, whose rows are copied only when gRPC puts it behind its prefix. */
export class GatheredDispatch {
  readonly byteLength: number;
  readonly #head: Buffer;
  readonly #content: DispatchContent;

  constructor(head: Buffer, content: DispatchContent) {
    this.#head = head;
    this.#content = content;
    this.byteLength = head.length + content.rows.length * content.rowBytes;
  }

  /** As of a Buffer: writes all of it into `target`, from `start`. Returns how many bytes. */
  copy(target: Uint8Array, start: number): number {
    target.set(this.#head, start);
    const { source, rowBytes, rows } = this.#content;
    let at = start + this.#head.length;
    for (let row = 0; row < rows.length; ) {
      const first = rows[row] as number;
      let count = 1;
      while (rows[row + count] === first + count) count += 1;
      target.set(source.subarray(first * rowBytes, (first + count) * rowBytes), at);
      at += count * rowBytes;
      row += count;
    }
    return this.byteLength;
  }
}

/** An outgoing answer, whose rows a kernel writes in place. Single use, but its memory may be given to the next. */
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

  /** Once gRPC has taken the message: its memory goes to the next one. */
  release(): void {
    this.#frame.release();
  }

  encode(header: ResultHeader): Buffer {
    return this.#frame.encode([header.callId, 0, header.epoch, this.rowCount, header.queueUs, header.computeUs]);
  }
}

/** What the attention worker's stream takes: the content and the header that only the link knows. */
export interface OutgoingDispatch {
  readonly header: DispatchHeader;
  readonly content: DispatchContent;
}

/** What the expert worker's stream takes: rows, or why there are none. */
export type OutgoingResult =
  | { readonly kind: "rows"; readonly header: ResultHeader; readonly frame: ResultFrame }
  | { readonly kind: "error"; readonly header: ResultHeader; readonly code: ErrorCode; readonly message: string };

export function encodeDispatch({ header, content }: OutgoingDispatch): GatheredDispatch {
  const { rows, rowBytes, pairRows, experts, traceContext } = content;
  const pairCount = pairRows.length;
  const frame = new RowFrame(
    {
      headerTags: DISPATCH_HEADER,
      optional: traceContext === undefined ? undefined : { tag: bytes(8), value: traceContext },
      leading: { tag: bytes(6), lengthBytes: pairCount * 4 },
      rowsTag: bytes(7),
      rowsBytes: rows.length * rowBytes,
    },
    false,
  );
  const pairs = frame.leading;
  for (let pair = 0; pair < pairCount; pair += 1) {
    const row = pairRows[pair] as number;
    const expert = experts[pair] as number;
    pairs[pair * 4] = row;
    pairs[pair * 4 + 1] = row >>> 8;
    pairs[pair * 4 + 2] = expert;
    pairs[pair * 4 + 3] = expert >>> 8;
  }
  return new GatheredDispatch(frame.encode([header.callId, header.epoch, header.layer, rows.length, pairCount]), content);
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
  const message: DispatchRows = {
    callId: 0,
    epoch: 0,
    layer: 0,
    rowCount: 0,
    pairCount: 0,
    pairs: EMPTY,
    rows: EMPTY,
    traceContext: EMPTY,
  };
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
      case 0x42:
        message.traceContext = reader.bytes();
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
