import type { Clock } from "@moiety/core";
import type { Logger } from "@moiety/runtime";
import { Counter, type Registry } from "prom-client";

export interface AuditMetrics {
  written(entries: number): void;
  lost(requests: number, reason: "redis" | "crowded"): void;
  cut(entries: number, reason: "entries" | "days"): void;
}

/** What becomes of the audit log at this gateway. */
export function createAuditMetrics(registry: Registry): AuditMetrics {
  const registers = [registry];
  const written = new Counter({
    name: "moiety_audit_entries_total",
    help: "Entries of the audit log that this gateway wrote",
    registers,
  });
  const lost = new Counter({
    name: "moiety_audit_lost_total",
    help: "Requests that the audit log does not name, by reason: redis (away at this gateway's end), crowded (too many kinds at once; counted in an entry without names)",
    labelNames: ["reason"],
    registers,
  });
  const cut = new Counter({
    name: "moiety_audit_trimmed_total",
    help: "Entries that this gateway cut off the audit log, by reason: entries (there were too many), days (they were too old)",
    labelNames: ["reason"],
    registers,
  });
  // So that a rate sees the first of each.
  for (const reason of ["redis", "crowded"]) lost.inc({ reason }, 0);
  for (const reason of ["entries", "days"]) cut.inc({ reason }, 0);
  return {
    written: (entries) => written.inc(entries),
    lost: (requests, reason) => lost.inc({ reason }, requests),
    cut: (entries, reason) => cut.inc({ reason }, entries),
  };
}

export interface AuditTallyOptions {
  readonly metrics: AuditMetrics;
  readonly logger: Logger;
  readonly clock: Clock;
}

const WARN_EVERY_MS = 3_600_000;

/** Counts what is written and cut off, and says when entries go for want of room. */
export class AuditTally {
  readonly #options: AuditTallyOptions;
  #warnedMs = Number.NEGATIVE_INFINITY;

  constructor(options: AuditTallyOptions) {
    this.#options = options;
  }

  /** What a script answered: entries written, cut for want of room, cut for their age. */
  wrote([written, crowdedOut, aged]: readonly unknown[]): void {
    const { metrics, logger, clock } = this.#options;
    metrics.written(Number(written));
    metrics.cut(Number(aged), "days");
    metrics.cut(Number(crowdedOut), "entries");
    if (Number(crowdedOut) === 0 || clock.monotonicMs() - this.#warnedMs < WARN_EVERY_MS) return;
    this.#warnedMs = clock.monotonicMs();
    logger.warn("the audit log is full: its oldest entries go before MOIETY_AUDIT_DAYS have passed");
  }

  lost(requests: number, reason: "redis" | "crowded"): void {
    this.#options.metrics.lost(requests, reason);
  }
}
