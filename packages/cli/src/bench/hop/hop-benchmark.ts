import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HopBench, type HopLoad, type HopMeasurement } from "@moiety/attention-worker";
import { z } from "zod";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { FarEnd } from "../far-end.js";
import { formatHops, type HopRun } from "./hop-report.js";
import { keepCoresAwake } from "./idle-burners.js";

const addressesSchema = z.object({ tcpAddress: z.string(), unixAddress: z.string(), tcpPort: z.number() });
const delaySchema = z.object({ medianMs: z.number(), p99Ms: z.number(), maxMs: z.number() });

const ROWS = [1, 8, 64, 256];
const FULL = { rowCounts: ROWS, warmUpMs: 600, warmUpTrips: 1_000, repetitions: 5, measureMs: 500, loadMs: 4_000 };
const QUICK = { rowCounts: ROWS, warmUpMs: 100, warmUpTrips: 20, repetitions: 3, measureMs: 100, loadMs: 200 };

/** Full load: more calls under way than a link's two micro-batches would have. */
const LOADS = [
  { rows: 1, calls: 8 },
  { rows: 64, calls: 4 },
];

interface HopFigures {
  readonly hops: readonly HopMeasurement[];
  /** With cores kept awake; absent where that cannot be done. */
  readonly hopsAwake: readonly HopMeasurement[] | undefined;
  readonly loads: readonly HopLoad[];
}

/** Measures the data plane between this process and another one on this machine. */
export async function benchmarkHop({ quick }: BenchmarkOptions): Promise<BenchmarkResult<HopFigures>> {
  const name = join(tmpdir(), `moiety-hop-${randomUUID().slice(0, 8)}`);
  const farEnd = new FarEnd(new URL("./hop-far-end.js", import.meta.url), [`${name}-far.sock`]);
  const settings = quick ? QUICK : FULL;
  let bench: HopBench | undefined;
  try {
    const addresses = addressesSchema.parse(await farEnd.next());
    bench = await HopBench.open({ ...addresses, ...settings, socket: `${name}-near.sock` });
    const runs: HopRun[] = [{ cores: "as they are", hops: await bench.roundTrips() }];
    const letSleep = await keepCoresAwake();
    if (letSleep !== undefined) {
      runs.push({ cores: "kept awake", hops: await bench.roundTrips() });
      letSleep();
    }
    const watchFar = async (watch: boolean) => delaySchema.parse(await farEnd.ask({ watch }));
    const loads: HopLoad[] = [];
    for (const each of LOADS) loads.push(await bench.load({ ...each, durationMs: settings.loadMs, watchFar }));
    const [hops = [], hopsAwake] = runs.map((run) => run.hops);
    return { text: formatHops({ runs, loads, ...settings }), figures: { ...settings, hops, hopsAwake, loads } };
  } finally {
    await bench?.close();
    await farEnd.close();
  }
}
