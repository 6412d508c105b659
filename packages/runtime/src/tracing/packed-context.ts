import { isSpanContextValid, type SpanContext } from "@opentelemetry/api";

const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
const PACKED_BYTES = TRACE_ID_BYTES + SPAN_ID_BYTES + 1;

/** Trace id, span id, flags. */
export function packContext({ traceId, spanId, traceFlags }: SpanContext): Uint8Array {
  const packed = Buffer.allocUnsafe(PACKED_BYTES);
  packed.write(traceId, 0, "hex");
  packed.write(spanId, TRACE_ID_BYTES, "hex");
  packed[PACKED_BYTES - 1] = traceFlags;
  return packed;
}

/** Absent for what is no context: a trace is never worth refusing work for. */
export function unpackContext(packed: Uint8Array): SpanContext | undefined {
  if (packed.length !== PACKED_BYTES) return undefined;
  const hex = Buffer.from(packed.buffer, packed.byteOffset, packed.length).toString("hex");
  const context = {
    traceId: hex.slice(0, TRACE_ID_BYTES * 2),
    spanId: hex.slice(TRACE_ID_BYTES * 2, (TRACE_ID_BYTES + SPAN_ID_BYTES) * 2),
    traceFlags: packed[PACKED_BYTES - 1] ?? 0,
    isRemote: true,
  };
  return isSpanContextValid(context) ? context : undefined;
}
