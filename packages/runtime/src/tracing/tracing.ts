import type { IncomingHttpHeaders } from "node:http";
import type { Registry } from "prom-client";
import { z } from "zod";
import { env } from "../config.js";
import type { Logger } from "../logger.js";

/** How a process is told where its spans go. */
export const tracingConfigShape = {
  MOIETY_OTLP_ENDPOINT: z
    .url({ protocol: /^https?$/, error: "expected a URL of http or https" })
    .optional()
    .describe("OTLP collector that takes spans over HTTP, such as http://collector:4318; absent: nothing is traced"),
};

/** How the process where traces begin is told which. */
export const samplingConfigShape = {
  MOIETY_TRACE_RATIO: z
    .string()
    .regex(/^(\d+(\.\d+)?|\.\d+)$/, "expected a number from 0 to 1")
    .transform(Number)
    .pipe(z.number().min(0).max(1))
    .default(0.01)
    .describe("share of requests traced, 0 to 1, of those whose clients have not decided themselves by `traceparent`"),
  MOIETY_TRACE_CLIENTS_DECIDE: env
    .flag(true)
    .describe("whether what a client's `traceparent` says to be sampled is traced; false: the ratio decides on that as well"),
};

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanOptions {
  readonly kind?: "server" | "client" | "producer" | "consumer";
  /** By `performance.now()`, or Unix time; default now. */
  readonly startMs?: number;
  readonly attributes?: SpanAttributes;
}

/** A span that will be exported. There is none for what is not sampled. Attributes hold no prompt, no completion and no key. */
export interface TraceSpan {
  readonly traceId: string;
  /** By `performance.now()`, or Unix time. */
  readonly startMs: number;
  /** What others continue it by: W3C `traceparent`. */
  readonly traceparent: string;
  /** The same in 25 bytes: trace id, span id, flags. */
  pack(): Uint8Array;
  child(name: string, options?: SpanOptions): TraceSpan;
  /** Says that another span stands for what happened in this one, too. */
  link(other: TraceSpan): void;
  set(attributes: SpanAttributes): void;
  /** Marks it as failed, by a code. */
  fail(code: string): void;
  /** Default: now. */
  end(endMs?: number): void;
}

/** The traces that a process takes part in. Nothing here throws, or waits for the collector. */
export interface Tracing {
  /** Whether any span can come of it. */
  readonly isOn: boolean;
  /** At the edge of the cluster: goes on with the caller's trace, or begins one. Absent: not sampled. */
  begin(name: string, headers: IncomingHttpHeaders, options?: SpanOptions): TraceSpan | undefined;
  /** Goes on with the trace of another process, as it wrote it. Absent: there is none, or tracing is off. */
  resume(parent: string | Uint8Array | undefined, name: string, options?: SpanOptions): TraceSpan | undefined;
  /** Sends what has not been sent, if that is quick. Never rejects. */
  close(): Promise<void>;
}

export const untraced: Tracing = {
  isOn: false,
  begin: () => undefined,
  resume: () => undefined,
  close: async () => {},
};

export interface TracingOptions {
  readonly config: {
    readonly MOIETY_OTLP_ENDPOINT?: string | undefined;
    readonly MOIETY_TRACE_RATIO?: number;
    readonly MOIETY_TRACE_CLIENTS_DECIDE?: boolean;
  };
  readonly service: string;
  readonly instance: string;
  readonly logger: Logger;
  readonly registry: Registry;
}

/** Loads the SDK only when there is somewhere to send spans to. */
export async function openTracing(options: TracingOptions): Promise<Tracing> {
  const {
    MOIETY_OTLP_ENDPOINT: endpoint,
    MOIETY_TRACE_RATIO: ratio = 0,
    MOIETY_TRACE_CLIENTS_DECIDE: trusts = true,
  } = options.config;
  if (endpoint === undefined) return untraced;
  const { OtlpTracing } = await import("./otlp-tracing.js");
  return new OtlpTracing({ ...options, endpoint, ratio, trustsCallers: trusts });
}
