import { benchHop, type HopMeasurement, type RoundTrips } from "@moiety/attention-worker";
import { z } from "zod";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { FarEnd } from "../far-end.js";
import { formatTable, short } from "../table.js";

const addressesSchema = z.object({ workerAddress: z.string(), tcpPort: z.number() });

const FULL = { rowCounts: [1, 8, 64, 256], warmUpMs: 1_000, warmUpTrips: 2_000, repetitions: 5, measureMs: 1_000 };
const QUICK = { rowCounts: [1, 8, 64, 256], warmUpMs: 100, warmUpTrips: 20, repetitions: 3, measureMs: 100 };

/** Measures the data plane between this process and another one on this machine. */
export async function benchmarkHop({ quick }: BenchmarkOptions): Promise<BenchmarkResult> {
  const farEnd = new FarEnd(new URL("./hop-far-end.js", import.meta.url));
  try {
    const addresses = addressesSchema.parse(await farEnd.next());
    const settings = quick ? QUICK : FULL;
    const hops = await benchHop({ ...addresses, ...settings });
    return { text: format(hops, settings), figures: { ...settings, hops } };
  } finally {
    await farEnd.close();
  }
}

function format(hops: readonly HopMeasurement[], { repetitions, measureMs }: typeof FULL): string {
  const header = ["rows", "bytes each way", "hop p50 us", "range", "p99 us", "TCP p50 us", "range", "p99 us", "hop/TCP"];
  const range = ({ medianRangeUs: [low, high] }: RoundTrips) => `${low.toFixed(0)}-${high.toFixed(0)}`;
  const lines = hops.map(({ rows, bytes, hop, tcp, ratio }) => [
    String(rows),
    String(bytes),
    hop.medianUs.toFixed(0),
    range(hop),
    hop.p99Us.toFixed(0),
    tcp.medianUs.toFixed(0),
    range(tcp),
    tcp.p99Us.toFixed(0),
    `${short(ratio)}x`,
  ]);
  const how = `Medians of ${repetitions} repetitions of ${measureMs} ms each; range: of the repetitions' medians.`;
  return `${formatTable(header, lines)}\n${how}`;
}
