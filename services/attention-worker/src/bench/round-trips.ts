/** Round trips in microseconds: medians of the repetitions' medians and 99th percentiles. */
export interface RoundTrips {
  /** Of all repetitions. */
  readonly count: number;
  readonly medianUs: number;
  readonly p99Us: number;
  /** Lowest and highest median of a repetition: how steady the machine was. */
  readonly medianRangeUs: readonly [number, number];
}

export interface RoundTripSettings {
  /** Each way is run at least so long, and so often, before it is measured: the compiler needs it. */
  readonly warmUpMs: number;
  readonly warmUpTrips: number;
  readonly repetitions: number;
  /** Of one repetition of one way. */
  readonly measureMs: number;
}

type Trip = () => Promise<void>;

/** All ways take turns within every repetition, so that a drift of the machine meets each of them. */
const TURNS = 4;

/** Measures several ways of going there and back, beside each other; results in their order. */
export async function measureRoundTrips(ways: readonly Trip[], settings: RoundTripSettings): Promise<RoundTrips[]> {
  const { warmUpMs, warmUpTrips, repetitions, measureMs } = settings;
  for (const way of ways) await repeat(way, { durationMs: warmUpMs, trips: warmUpTrips });
  const turn = { durationMs: measureMs / TURNS, trips: 1 };
  const tookUs: number[][][] = ways.map(() => []);
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    const taken: number[][] = ways.map(() => []);
    for (let turns = 0; turns < TURNS; turns += 1) {
      for (const [index, way] of ways.entries()) taken[index]?.push(...(await repeat(way, turn)));
    }
    taken.forEach((trips, index) => {
      tookUs[index]?.push(trips);
    });
  }
  return tookUs.map(summarise);
}

/** Goes on for so long and for so many trips, whichever takes longer. */
async function repeat(once: Trip, least: { readonly durationMs: number; readonly trips: number }): Promise<number[]> {
  const tookUs: number[] = [];
  const endMs = performance.now() + least.durationMs;
  for (let startMs = performance.now(); startMs < endMs || tookUs.length < least.trips; ) {
    await once();
    const nowMs = performance.now();
    tookUs.push((nowMs - startMs) * 1_000);
    startMs = nowMs;
  }
  return tookUs;
}

function summarise(repetitions: readonly (readonly number[])[]): RoundTrips {
  const medians = repetitions.map((tookUs) => quantile(tookUs, 0.5));
  return {
    count: repetitions.reduce((sum, { length }) => sum + length, 0),
    medianUs: quantile(medians, 0.5),
    p99Us: quantile(
      repetitions.map((tookUs) => quantile(tookUs, 0.99)),
      0.5,
    ),
    medianRangeUs: [Math.min(...medians), Math.max(...medians)],
  };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
