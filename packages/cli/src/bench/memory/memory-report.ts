import { formatTable } from "../table.js";
import type { Counters } from "./counters.js";
import type { MemorySample } from "./memory-meter.js";
import { type Slope, slopeOf } from "./slope.js";

/** Memory over a stretch of requests. */
export interface Stretch {
  /** At its end. */
  readonly requests: number;
  /** Mean. */
  readonly residentBytes: number;
  /** The least: what was there after a collection, or soon after. */
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
}

export interface MemoryFigures {
  readonly requests: number;
  readonly seconds: number;
  readonly byKind: Readonly<Record<string, number>>;
  /** Answers of another status than was expected, connections that failed, counters that drifted. */
  readonly faults: readonly string[];
  readonly counters: { readonly before: Counters; readonly after: Counters };
  readonly stretches: readonly Stretch[];
  /** Bytes per request over the second half. */
  readonly growth: { readonly resident: Slope; readonly heapUsed: Slope; readonly external: Slope };
}

const STRETCHES = 20;
const MIB = 2 ** 20;

/** Samples in equal parts. */
export function stretchesOf(samples: readonly MemorySample[]): readonly Stretch[] {
  const size = Math.max(1, Math.floor(samples.length / STRETCHES));
  const parts = Array.from({ length: Math.floor(samples.length / size) }, (_, part) =>
    samples.slice(part * size, (part + 1) * size),
  );
  return parts.map((part) => ({
    requests: part.at(-1)?.requests ?? 0,
    residentBytes: part.reduce((sum, { resident }) => sum + resident, 0) / part.length,
    heapUsedBytes: Math.min(...part.map(({ heapUsed }) => heapUsed)),
    externalBytes: Math.min(...part.map(({ external }) => external)),
  }));
}

/** Over the second half: the first is a process that finds its size. */
export function growthOf(stretches: readonly Stretch[]): MemoryFigures["growth"] {
  const half = stretches.slice(Math.floor(stretches.length / 2));
  const slope = (of: (stretch: Stretch) => number) => slopeOf(half.map((stretch) => [stretch.requests, of(stretch)]));
  return {
    resident: slope(({ residentBytes }) => residentBytes),
    heapUsed: slope(({ heapUsedBytes }) => heapUsedBytes),
    external: slope(({ externalBytes }) => externalBytes),
  };
}

/** The figures for people. */
export function formatMemory({ requests, seconds, byKind, faults, counters, stretches, growth }: MemoryFigures): string {
  const mib = (bytes: number) => (bytes / MIB).toFixed(1);
  const rows = stretches.map(({ requests: until, residentBytes, heapUsedBytes, externalBytes }) => [
    String(until),
    ...[residentBytes, heapUsedBytes, externalBytes].map(mib),
  ]);
  const kinds = Object.entries(byKind).map(([kind, count]) => `${count} ${kind}`);
  const counted = ({ load, waiting, active, room }: Counters) =>
    `${load} answered, ${waiting} waiting, ${active} served, room for ${room}`;
  const line = (name: string, { perUnit, error }: Slope) =>
    `${name}: ${perUnit.toFixed(1)} bytes per request, ± ${(2 * error).toFixed(1)} (two standard errors): ${mib(perUnit * (requests / 2))} MiB`;
  return [
    `${requests} requests in ${seconds.toFixed(0)} s: ${kinds.join(", ")}; ${faults.length} faults${faults.length > 0 ? `: ${faults.slice(0, 5).join("; ")}` : ""}`,
    formatTable(["requests", "resident MiB", "heap used, least", "external, least"], rows),
    `Counters before: ${counted(counters.before)}; after: ${counted(counters.after)}`,
    "Growth over the second half:",
    line("  resident", growth.resident),
    line("  heap", growth.heapUsed),
    line("  external", growth.external),
  ].join("\n");
}
