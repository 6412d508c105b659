import type { IncomingHttpHeaders } from "node:http";
import {
  type Context,
  defaultTextMapGetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { parseTraceParent, W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, TracerProvider } from "@opentelemetry/sdk-trace";
import { packContext, unpackContext } from "./packed-context.js";
import type { SpanAttributes, SpanOptions, TraceSpan, Tracing, TracingOptions } from "./tracing.js";
import { WatchedExporter } from "./watched-exporter.js";

export interface OtlpTracingOptions extends Omit<TracingOptions, "config"> {
  /** Without `/v1/traces`. */
  readonly endpoint: string;
  readonly ratio: number;
  /** Whether a trace that a caller has sampled is gone on with in any case. */
  readonly trustsCallers: boolean;
}

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

/** Spans that wait for the collector; more are dropped. */
const MAX_QUEUED_SPANS = 8_192;
const EXPORT_INTERVAL_MS = 1_000;
const EXPORT_TIMEOUT_MS = 5_000;
/** A collector that does not answer must not use up the time in which a process drains. */
const CLOSE_TIMEOUT_MS = 2_000;

/** Spans by OpenTelemetry's SDK, sent in batches by OTLP over HTTP. */
export class OtlpTracing implements Tracing {
  readonly isOn = true;
  readonly #tracer: Tracer;
  readonly #provider: TracerProvider;
  readonly #exporter: WatchedExporter;
  readonly #propagator = new W3CTraceContextPropagator();

  constructor({ endpoint, ratio, trustsCallers, service, instance, logger, registry }: OtlpTracingOptions) {
    const url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
    this.#exporter = new WatchedExporter(new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS }), { logger, registry });
    const root = new TraceIdRatioBasedSampler(ratio);
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({
        "service.namespace": "moiety",
        "service.name": service,
        "service.instance.id": instance,
      }),
      sampler: new ParentBasedSampler({ root, ...(trustsCallers ? {} : { remoteParentSampled: root }) }),
      spanLimits: { attributeCountLimit: 32, attributeValueLengthLimit: 256, linkCountLimit: 16, eventCountLimit: 16 },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter: this.#exporter,
          maxQueueSize: MAX_QUEUED_SPANS,
          scheduledDelayMillis: EXPORT_INTERVAL_MS,
          exportTimeoutMillis: EXPORT_TIMEOUT_MS,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer("moiety");
  }

  begin(name: string, headers: IncomingHttpHeaders, options: SpanOptions = {}): TraceSpan | undefined {
    return this.#start(name, this.#propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter), options);
  }

  resume(parent: string | Uint8Array | undefined, name: string, options: SpanOptions = {}): TraceSpan | undefined {
    if (parent === undefined || parent.length === 0) return undefined;
    const context = typeof parent === "string" ? parseTraceParent(parent) : unpackContext(parent);
    if (!context) return undefined;
    return this.#start(name, trace.setSpanContext(ROOT_CONTEXT, { ...context, isRemote: true }), options);
  }

  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    await Promise.race([this.#provider.shutdown().catch(() => {}), timeout]);
    clearTimeout(timer);
  }

  #start(name: string, parent: Context, options: SpanOptions): TraceSpan | undefined {
    const startMs = options.startMs ?? performance.now();
    const span = this.#tracer.startSpan(
      name,
      {
        kind: options.kind === undefined ? SpanKind.INTERNAL : KINDS[options.kind],
        startTime: startMs,
        ...(options.attributes === undefined ? {} : { attributes: options.attributes }),
      },
      parent,
    );
    if (!span.isRecording()) return undefined;
    return new SdkSpan(span, { startMs, ended: () => this.#exporter.ended(), start: (...child) => this.#start(...child) });
  }
}

interface SdkSpanOptions {
  readonly startMs: number;
  ended(): void;
  start(name: string, parent: Context, options: SpanOptions): TraceSpan | undefined;
}

class SdkSpan implements TraceSpan {
  readonly #span: Span;
  readonly #options: SdkSpanOptions;

  constructor(span: Span, options: SdkSpanOptions) {
    this.#span = span;
    this.#options = options;
  }

  get startMs(): number {
    return this.#options.startMs;
  }

  get traceId(): string {
    return this.#span.spanContext().traceId;
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
  }

  pack(): Uint8Array {
    return packContext(this.#span.spanContext());
  }

  child(name: string, options: SpanOptions = {}): TraceSpan {
    // A child of what is recorded is recorded; should the SDK ever think otherwise, what it says goes to its parent.
    return this.#options.start(name, trace.setSpan(ROOT_CONTEXT, this.#span), options) ?? this;
  }

  link(other: TraceSpan): void {
    const context = unpackContext(other.pack());
    if (context !== undefined) this.#span.addLink({ context: { ...context, isRemote: false } });
  }

  set(attributes: SpanAttributes): void {
    this.#span.setAttributes(attributes);
  }

  fail(code: string): void {
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message: code });
  }

  end(endMs = performance.now()): void {
    this.#span.end(endMs);
    this.#options.ended();
  }
}
