import type { ErrorCode } from "@moiety/core";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { WaitingCall } from "./calls/call.js";

/** What gauges read when they are scraped. */
export interface WorkerGauges {
  queuedCalls(): number;
  queuedBytes(): number;
  runningCalls(): number;
  links(): number;
  residentBytes(): number;
  heldExperts(): number;
  readyEpoch(): number;
  forEachHeat(visit: (layer: number, expert: number, rows: number) => void): void;
}

export interface WorkerMetrics {
  executed(batch: {
    readonly calls: readonly WaitingCall[];
    readonly queueMs: readonly number[];
    readonly computeMs: number;
  }): void;
  failed(call: { readonly code: ErrorCode }): void;
}

const SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

/** Every metric of this service. */
export function createWorkerMetrics(registry: Registry, gauges: WorkerGauges): WorkerMetrics {
  const registers = [registry];
  const calls = new Counter({ name: "moiety_expert_calls_total", help: "calls answered with rows", registers });
  const rows = new Counter({ name: "moiety_expert_rows_total", help: "(row, expert) pairs computed", registers });
  new Counter({
    name: "moiety_expert_heat_rows_total",
    help: "pairs computed, by layer and expert",
    labelNames: ["layer", "expert"] as const,
    registers,
    collect() {
      this.reset();
      gauges.forEachHeat((layer, expert, count) => this.inc({ layer, expert }, count));
    },
  });
  const errors = new Counter({
    name: "moiety_expert_errors_total",
    help: "calls answered with an error, by gRPC code",
    labelNames: ["code"] as const,
    registers,
  });
  const queueSeconds = new Histogram({
    name: "moiety_expert_queue_seconds",
    help: "time that a call waited for its turn",
    buckets: SECONDS,
    registers,
  });
  const computeSeconds = new Histogram({
    name: "moiety_expert_compute_seconds",
    help: "time of one native call",
    buckets: SECONDS,
    registers,
  });
  const merged = new Histogram({
    name: "moiety_expert_batch_calls",
    help: "calls merged into one native call",
    buckets: [1, 2, 3, 4, 6, 8, 12, 16, 32],
    registers,
  });
  addGauges(registry, gauges);
  return {
    executed({ calls: batch, queueMs, computeMs }) {
      calls.inc(batch.length);
      merged.observe(batch.length);
      computeSeconds.observe(computeMs / 1_000);
      for (const ms of queueMs) queueSeconds.observe(ms / 1_000);
      for (const { pairExperts } of batch) rows.inc(pairExperts.length);
    },
    failed: ({ code }) => errors.inc({ code }),
  };
}

function addGauges(registry: Registry, gauges: WorkerGauges): void {
  const add = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: `moiety_expert_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  add("queued_calls", "calls waiting", gauges.queuedCalls);
  add("queued_bytes", "bytes of the rows of waiting calls, both ways", gauges.queuedBytes);
  add("running_calls", "calls in native code", gauges.runningCalls);
  add("links", "attention workers linked", gauges.links);
  add("resident_bytes", "bytes of the weights held", gauges.residentBytes);
  add("held", "(layer, expert) pairs held", gauges.heldExperts);
  add("ready_epoch", "newest placement held completely", gauges.readyEpoch);
}
