import { AppError, invariant } from "@moiety/core";
import type { LoggedLogprob, LoggedToken } from "./types.js";

const HAS_LOGPROB = 1;
const HAS_TOP = 2;
/** u8 flags, u32 token. */
const HEAD_BYTES = 5;
/** u32 token, f64 log-probability: doubles, so that what is read is exactly what was written. */
const TOP_ENTRY_BYTES = 12;
const MAX_TOP = 255;

/**
 * One entry of a token log, little-endian and self-delimiting:
 * `u8 flags, u32 token, [f64 logprob], [u8 count, count * (u32 token, f64 logprob)]`.
 */
export function encodeToken(entry: LoggedToken): Buffer {
  const top = entry.top;
  invariant(top === undefined || top.length <= MAX_TOP, "a logged token carries at most 255 alternatives");
  const buffer = Buffer.allocUnsafe(
    HEAD_BYTES + (entry.logprob === undefined ? 0 : 8) + (top === undefined ? 0 : 1 + top.length * TOP_ENTRY_BYTES),
  );
  buffer.writeUInt8((entry.logprob === undefined ? 0 : HAS_LOGPROB) | (top === undefined ? 0 : HAS_TOP), 0);
  let offset = buffer.writeUInt32LE(entry.token, 1);
  if (entry.logprob !== undefined) offset = buffer.writeDoubleLE(entry.logprob, offset);
  if (top === undefined) return buffer;
  offset = buffer.writeUInt8(top.length, offset);
  for (const { token, logprob } of top) offset = buffer.writeDoubleLE(logprob, buffer.writeUInt32LE(token, offset));
  return buffer;
}

const damaged = (): AppError => new AppError("DATA_LOSS", "a token log holds an entry that cannot be read", { retryable: false });

/** Reads the entry at `offset`. @throws AppError DATA_LOSS when it is not one. */
function decodeTokenAt(buffer: Buffer, offset: number): { readonly entry: LoggedToken; readonly end: number } {
  const need = (bytes: number, at: number) => {
    if (at + bytes > buffer.length) throw damaged();
  };
  need(HEAD_BYTES, offset);
  const flags = buffer.readUInt8(offset);
  if (flags > (HAS_LOGPROB | HAS_TOP)) throw damaged();
  const token = buffer.readUInt32LE(offset + 1);
  let end = offset + HEAD_BYTES;
  let logprob: number | undefined;
  if (flags & HAS_LOGPROB) {
    need(8, end);
    logprob = buffer.readDoubleLE(end);
    end += 8;
  }
  if (!(flags & HAS_TOP)) return { entry: logprob === undefined ? { token } : { token, logprob }, end };
  need(1, end);
  const count = buffer.readUInt8(end);
  end += 1;
  need(count * TOP_ENTRY_BYTES, end);
  const top: LoggedLogprob[] = [];
  for (let index = 0; index < count; index++, end += TOP_ENTRY_BYTES) {
    top.push({ token: buffer.readUInt32LE(end), logprob: buffer.readDoubleLE(end + 4) });
  }
  return { entry: logprob === undefined ? { token, top } : { token, logprob, top }, end };
}

/** Entries that were encoded one after the other, in a part of a buffer. @throws AppError DATA_LOSS for anything else. */
export function decodeTokens(buffer: Buffer, from = 0, to = buffer.length): LoggedToken[] {
  const entries: LoggedToken[] = [];
  let offset = from;
  while (offset < to) {
    const { entry, end } = decodeTokenAt(buffer, offset);
    entries.push(entry);
    offset = end;
  }
  if (offset > to) throw damaged();
  return entries;
}

/** Exactly one entry. @throws AppError DATA_LOSS for anything else. */
export function decodeToken(buffer: Buffer): LoggedToken {
  const { entry, end } = decodeTokenAt(buffer, 0);
  if (end !== buffer.length) throw damaged();
  return entry;
}

/** Prompt tokens as packed u32, little-endian. */
export function packTokens(tokens: Int32Array): Buffer {
  const buffer = Buffer.allocUnsafe(tokens.length * 4);
  tokens.forEach((token, index) => {
    buffer.writeUInt32LE(token, index * 4);
  });
  return buffer;
}

/** @throws AppError DATA_LOSS when it is not a whole number of tokens or one does not fit into 31 bits. */
export function unpackTokens(buffer: Buffer): Int32Array {
  if (buffer.length % 4 !== 0) throw damaged();
  const tokens = new Int32Array(buffer.length / 4);
  for (let index = 0; index < tokens.length; index++) {
    const token = buffer.readUInt32LE(index * 4);
    if (token > 0x7fffffff) throw damaged();
    tokens[index] = token;
  }
  return tokens;
}
