import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import { Counter, type Registry } from "prom-client";
import type { Logger } from "../logger.js";

type Done = Parameters<SpanExporter["export"]>[1];

/** A collector that stays away is not worth more lines. */
const LOG_INTERVAL_MS = 60_000;

/** Counts what becomes of spans, and logs now and then that they are lost. */
export class WatchedExporter implements SpanExporter {
  readonly #inner: SpanExporter;
  readonly #logger: Logger;
  readonly #spans: Counter<"outcome">;
  #loggedMs = Number.NEGATIVE_INFINITY;

  constructor(inner: SpanExporter, { logger, registry }: { readonly logger: Logger; readonly registry: Registry }) {
    this.#inner = inner;
    this.#logger = logger;
    this.#spans = new Counter({
      name: "moiety_trace_spans_total",
      help: "Spans, by what became of them: ended, and of those exported or failed; the rest waits or was dropped",
      labelNames: ["outcome"],
      registers: [registry],
    });
  }

  ended(): void {
    this.#spans.inc({ outcome: "ended" });
  }

  export(spans: ReadableSpan[], done: Done): void {
    this.#inner.export(spans, (result) => {
      this.#spans.inc({ outcome: result.error === undefined && result.code === 0 ? "exported" : "failed" }, spans.length);
      if (result.code !== 0) this.#complain(result.error);
      done(result);
    });
  }

  forceFlush(): Promise<void> {
    return this.#inner.forceFlush?.() ?? Promise.resolve();
  }

  shutdown(): Promise<void> {
    return this.#inner.shutdown();
  }

  #complain(error: Error | undefined): void {
    const nowMs = performance.now();
    if (nowMs - this.#loggedMs < LOG_INTERVAL_MS) return;
    this.#loggedMs = nowMs;
    this.#logger.warn({ reason: error?.message ?? "no reason given" }, "spans not exported");
  }
}
