import { AppError, ERROR_CODES, type ErrorCode } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DispatchRows, ResultRows } from "./generated/moiety/v1/expert.js";
import {
  type DispatchContent,
  decodeDispatch,
  decodeResult,
  encodeDispatch,
  encodeResult,
  MAX_ERROR_BYTES,
  type OutgoingDispatch,
  ResultFrame,
} from "./row-codec.js";
import { ROW_ALIGNMENT_BYTES } from "./row-frame.js";

const u32 = fc.nat({ max: 0xffff_ffff });
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

const dispatchMessage: fc.Arbitrary<DispatchRows> = fc.record({
  callId: u32,
  epoch: u32,
  layer: u32,
  rowCount: u32,
  pairCount: u32,
  pairs: bytes(300),
  rows: bytes(20_000),
  traceContext: bytes(40),
});

const resultMessage: fc.Arbitrary<ResultRows> = fc.record({
  callId: u32,
  code: u32,
  epoch: u32,
  rowCount: u32,
  queueUs: u32,
  computeUs: u32,
  error: fc.string({ unit: "grapheme", maxLength: 60 }),
  rows: bytes(20_000),
});

const dispatchCase = fc
  .record({
    header: fc.record({ callId: u32, epoch: u32, layer: u32 }),
    sourceRows: fc.integer({ min: 1, max: 60 }),
    pairCount: fc.nat({ max: 160 }),
    rowBytes: fc.constantFrom(2, 64, 66, 512),
    fill: fc.nat({ max: 255 }),
    traceContext: fc.option(bytes(40), { nil: undefined }),
  })
  .chain((given) =>
    fc.record({ ...constants(given), rows: fc.subarray(Array.from({ length: given.sourceRows }, (_, row) => row)) }),
  )
  .map(({ header, sourceRows, pairCount, rowBytes, fill, rows, traceContext }) => {
    const source = Uint8Array.from({ length: sourceRows * rowBytes }, (_, at) => (at * 31 + fill) & 0xff);
    const pairRows = Array.from({ length: pairCount }, (_, pair) => (pair * 7 + fill) & 0xffff);
    const experts = Array.from({ length: pairCount }, (_, pair) => pair * 300 + fill);
    const content: DispatchContent = { source, rowBytes, rows, pairRows, experts, traceContext };
    return { header, content };
  });

function constants<T extends object>(values: T): { [Key in keyof T]: fc.Arbitrary<T[Key]> } {
  const entries = Object.entries(values).map(([key, value]) => [key, fc.constant(value)]);
  return Object.fromEntries(entries) as { [Key in keyof T]: fc.Arbitrary<T[Key]> };
}

/** As grpc-js makes a message of it: behind a prefix of five bytes. */
function received(message: OutgoingDispatch): Buffer {
  const gathered = encodeDispatch(message);
  const output = Buffer.alloc(5 + gathered.byteLength);
  expect(gathered.copy(output, 5)).toBe(gathered.byteLength);
  return output;
}

/** Compares like `toEqual`; bytes as text, because comparing them one by one takes seconds. */
function expectSame(read: DispatchRows | ResultRows, expected: DispatchRows | ResultRows): void {
  const readable = (message: object) =>
    Object.fromEntries(
      Object.entries(message).map(([key, value]) => [key, Buffer.isBuffer(value) ? value.toString("base64") : value]),
    );
  expect(readable(read)).toEqual(readable(expected));
}

function outcome(decode: () => unknown): "message" | "refusal" {
  try {
    decode();
    return "message";
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).code).toBe("INVALID_ARGUMENT");
    return "refusal";
  }
}

describe("the codec of calls", () => {
  it("writes what the generated code reads", () => {
    fc.assert(
      fc.property(dispatchCase, ({ header, content }) => {
        const read = DispatchRows.decode(received({ header, content }).subarray(5));
        const { source, rowBytes, rows, pairRows, experts } = content;
        const pairs = Buffer.alloc(pairRows.length * 4);
        for (let pair = 0; pair < pairRows.length; pair += 1) {
          pairs.writeUInt16LE(pairRows[pair] ?? 0, pair * 4);
          pairs.writeUInt16LE(experts[pair] ?? 0, pair * 4 + 2);
        }
        const sent = Array.from(rows, (row) => source.subarray(row * rowBytes, (row + 1) * rowBytes));
        const counts = { rowCount: rows.length, pairCount: pairRows.length };
        const { traceContext = Buffer.alloc(0) } = content;
        expectSame(read, { ...header, ...counts, pairs, rows: Buffer.concat(sent), traceContext: Buffer.from(traceContext) });
      }),
    );
  });

  it("reads what the generated code writes", () => {
    fc.assert(
      fc.property(dispatchMessage, (message) => {
        expectSame(decodeDispatch(Buffer.from(DispatchRows.encode(message).finish())), message);
      }),
    );
  });

  it("lays rows so that they arrive aligned behind gRPC's prefix", () => {
    fc.assert(
      fc.property(dispatchCase, (message) => {
        const arrived = received(message);
        const { rows } = decodeDispatch(arrived.subarray(5));
        if (rows.length > 0) expect((rows.byteOffset - arrived.byteOffset) % ROW_ALIGNMENT_BYTES).toBe(0);
      }),
    );
  });

  it("leaks no memory through its padding", () => {
    const content = { source: new Uint8Array(64).fill(9), rowBytes: 64, rows: [0], pairRows: [0], experts: [0] };
    const message = received({ header: { callId: 1, epoch: 1, layer: 1 }, content }).subarray(5);
    expect(message[0]).toBe(0x7a);
    const padding = message.subarray(2, 2 + (message[1] ?? 0));
    expect(padding.length).toBeGreaterThan(0);
    expect(padding.every((byte) => byte === 0)).toBe(true);
  });
});

describe("the codec of answers", () => {
  it("writes rows that the generated code reads", () => {
    fc.assert(
      fc.property(
        fc.record({ callId: u32, epoch: u32, queueUs: u32, computeUs: u32 }),
        fc.nat({ max: 30 }),
        fc.constantFrom(2, 66, 512),
        (header, rowCount, rowBytes) => {
          const frame = new ResultFrame({ rowCount, rowBytes });
          frame.rows.fill(0xab);
          const message = encodeResult({ kind: "rows", header, frame });
          const rows = Buffer.alloc(rowCount * rowBytes, 0xab);
          expectSame(ResultRows.decode(message), { ...header, code: 0, rowCount, error: "", rows });
          const framed = Buffer.concat([Buffer.alloc(5), message]);
          const arrived = decodeResult(framed.subarray(5)).rows;
          if (rows.length > 0) expect((arrived.byteOffset - framed.byteOffset) % ROW_ALIGNMENT_BYTES).toBe(0);
          frame.release();
        },
      ),
    );
  });

  it("writes errors that the generated code reads, clipped to their bound", () => {
    const codes = Object.keys(ERROR_CODES) as ErrorCode[];
    fc.assert(
      fc.property(fc.constantFrom(...codes), fc.string({ unit: "grapheme", maxLength: 3_000 }), (code, message) => {
        const header = { callId: 7, epoch: 3, queueUs: 1, computeUs: 0 };
        const encoded = encodeResult({ kind: "error", header, code, message });
        const read = ResultRows.decode(encoded);
        expect(read).toMatchObject({ ...header, code: ERROR_CODES[code], rowCount: 0 });
        expect(decodeResult(encoded)).toEqual(read);
        expect(Buffer.byteLength(read.error)).toBeLessThanOrEqual(MAX_ERROR_BYTES);
        if (Buffer.byteLength(message) <= MAX_ERROR_BYTES) expect(read.error).toBe(Buffer.from(message).toString());
      }),
    );
  });

  it("reads what the generated code writes", () => {
    fc.assert(
      fc.property(resultMessage, (message) => {
        const wire = Buffer.from(ResultRows.encode(message).finish());
        expectSame(decodeResult(wire), ResultRows.decode(wire));
      }),
    );
  });

  it("refuses an error text beyond its bound", () => {
    const message = ResultRows.create({ callId: 1, code: 13, error: "x".repeat(MAX_ERROR_BYTES + 1) });
    expect(outcome(() => decodeResult(Buffer.from(ResultRows.encode(message).finish())))).toBe("refusal");
  });
});

describe("bytes from outside", () => {
  it("never make a decoder throw anything but INVALID_ARGUMENT", () => {
    fc.assert(
      fc.property(bytes(400), (input) => {
        outcome(() => decodeDispatch(input));
        outcome(() => decodeResult(input));
      }),
      { numRuns: 2_000 },
    );
  });

  it("that were cut short are refused or read within their bounds", () => {
    fc.assert(
      fc.property(dispatchMessage, fc.double({ min: 0, max: 1, noNaN: true }), (message, share) => {
        const wire = Buffer.from(DispatchRows.encode(message).finish());
        const cut = wire.subarray(0, Math.floor(wire.length * share));
        outcome(() => {
          const read = decodeDispatch(cut);
          expect(read.rows.length + read.pairs.length).toBeLessThanOrEqual(cut.length);
        });
      }),
    );
  });

  it("that were flipped are refused or read within their bounds", () => {
    fc.assert(
      fc.property(resultMessage, fc.nat(), fc.nat({ max: 255 }), (message, at, value) => {
        const wire = Buffer.from(ResultRows.encode(message).finish());
        if (wire.length > 0) wire[at % wire.length] = value;
        outcome(() => expect(decodeResult(wire).rows.length).toBeLessThanOrEqual(wire.length));
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["a group", [0x0b, 0x0c]],
    ["wire type 6", [0x0e]],
    ["field number 0", [0x00]],
    ["a number without end", Array.from({ length: 11 }, () => 0xff)],
    ["a length beyond the end", [0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ["a length of 64 bits", [0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ["a header field without its value", [0x0d, 1, 2]],
  ])("with %s are refused", (_name, input) => {
    expect(outcome(() => decodeDispatch(Buffer.from(input)))).toBe("refusal");
  });

  it("with unknown fields of every wire type are read as if those were absent", () => {
    const unknown = [0x80, 0x01, 0x05, 0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0x82, 0x01, 2, 9, 9, 0x85, 0x01, 1, 2, 3, 4];
    const known = [0x0d, 42, 0, 0, 0];
    expect(decodeDispatch(Buffer.from([...unknown, ...known, ...unknown])).callId).toBe(42);
  });
});
