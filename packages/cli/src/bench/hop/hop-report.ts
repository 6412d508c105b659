import type { HopLoad, HopMeasurement, LoopDelay, RoundTrips } from "@moiety/attention-worker";
import { formatTable, short } from "../table.js";

export interface HopRun {
  /** Whether idle cores may halt, as they do where nothing else runs, or are kept awake. */
  readonly cores: "as they are" | "kept awake";
  readonly hops: readonly HopMeasurement[];
}

interface HopReport {
  readonly runs: readonly HopRun[];
  readonly loads: readonly HopLoad[];
  readonly repetitions: number;
  readonly measureMs: number;
}

/** Tables of round trips and of event loops under load. */
export function formatHops({ runs, loads, repetitions, measureMs }: HopReport): string {
  const how = `Medians of ${repetitions} repetitions of ${measureMs} ms each, taking turns; range: of the repetitions' medians.`;
  return [...runs.map(formatRun), formatLoads(loads), how].join("\n\n");
}

function formatRun({ cores, hops }: HopRun): string {
  const header = [
    "rows",
    "bytes each way",
    ...["hop TCP us", "hop Unix us", "bare TCP us"].flatMap((of) => [of, "range", "p99"]),
    "hop/TCP",
  ];
  const cells = ({ medianUs, p99Us, medianRangeUs: [low, high] }: RoundTrips) => [
    medianUs.toFixed(0),
    `${low.toFixed(0)}-${high.toFixed(0)}`,
    p99Us.toFixed(0),
  ];
  const lines = hops.map(({ rows, bytes, hop, unixHop, tcp, ratio }) => [
    String(rows),
    String(bytes),
    ...[hop, unixHop, tcp].flatMap(cells),
    `${short(ratio)}x`,
  ]);
  return `cores ${cores}\n${formatTable(header, lines)}`;
}

function formatLoads(loads: readonly HopLoad[]): string {
  const of = ({ medianMs, p99Ms, maxMs }: LoopDelay) => [medianMs, p99Ms, maxMs].map((ms) => ms.toFixed(2));
  const header = [
    "rows",
    "calls at once",
    "MB/s each way",
    ...["here: delay p50 ms", "there: delay p50 ms"].flatMap((at) => [at, "p99", "max"]),
  ];
  const lines = loads.map(({ rows, calls, mbPerSecond, near, far }) => [
    String(rows),
    String(calls),
    mbPerSecond.toFixed(0),
    ...of(near),
    ...of(far),
  ]);
  return `under full load, over TCP: how late the event loops are\n${formatTable(header, lines)}`;
}
