import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { AppError, PlacementTable, parseWorkerId } from "@moiety/core";
import { type ModelIdentity, modelIdentity, rowBytesOf } from "@moiety/proto";
import { RemoteExpertPool } from "../experts/remote-expert-pool.js";

/** Round trips in microseconds: medians of the repetitions' medians and 99th percentiles. */
export interface RoundTrips {
  /** Of all repetitions. */
  readonly count: number;
  readonly medianUs: number;
  readonly p99Us: number;
  /** Lowest and highest median of a repetition: how steady the machine was. */
  readonly medianRangeUs: readonly [number, number];
}

export interface HopMeasurement {
  readonly rows: number;
  /** Of the rows, each way. */
  readonly bytes: number;
  readonly hop: RoundTrips;
  /** The same bytes over bare TCP, in turns with the hop. */
  readonly tcp: RoundTrips;
  /** Median of the hop over median of TCP. */
  readonly ratio: number;
}

export interface HopBenchOptions {
  /** The far end, in another process: `serveHopEcho` of the expert worker. */
  readonly workerAddress: string;
  readonly tcpPort: number;
  /** Rows per call. */
  readonly rowCounts: readonly number[];
  /** Each row count and transport is run at least so long, and so often, before it is measured: the compiler needs it. */
  readonly warmUpMs: number;
  readonly warmUpTrips: number;
  readonly repetitions: number;
  /** Of one repetition of one row count and transport. */
  readonly measureMs: number;
}

/** gpt-oss's rows, 5,760 bytes in bf16, through one layer with one expert that does nothing. */
export function hopBenchModel(): ModelIdentity {
  const config = { layers: 1, hiddenSize: 2_880, experts: 1, expertsPerToken: 1 };
  return modelIdentity({ fingerprint: "hop-bench", config, activation: "bf16", kernelFamily: "none" });
}

/** Measures the round trip of a call without compute, beside bare TCP. @throws AppError UNAVAILABLE when the far end is not there. */
export async function benchHop(options: HopBenchOptions): Promise<readonly HopMeasurement[]> {
  const model = hopBenchModel();
  const pool = await RemoteExpertPool.start({ selfId: parseWorkerId("hop-bench"), listenAddress: "127.0.0.1:0", model });
  const socket = connect({ port: options.tcpPort, host: "127.0.0.1", noDelay: true });
  try {
    await once(socket, "connect");
    await linkUp(pool, options.workerAddress);
    const results: HopMeasurement[] = [];
    for (const rows of options.rowCounts)
      results.push(await measure({ pool, socket, rows, rowBytes: rowBytesOf(model) }, options));
    return results;
  } finally {
    socket.destroy();
    await pool.close();
  }
}

async function linkUp(pool: RemoteExpertPool, address: string): Promise<void> {
  const workers = [{ id: parseWorkerId("hop-echo"), address, experts: [[0]] }];
  pool.updatePlacement(new PlacementTable({ epoch: 1, phase: "active", layers: 1, experts: 1, workers }));
  for (let waitedMs = 0; pool.missing().length > 0; waitedMs += 10) {
    if (waitedMs > 5_000) throw new AppError("UNAVAILABLE", `no link to ${address}: ${pool.missing().join("; ")}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

interface Ends {
  readonly pool: RemoteExpertPool;
  readonly socket: Socket;
  readonly rows: number;
  readonly rowBytes: number;
}

/** The two take turns within every repetition, so that a drift of the machine meets both. */
const TURNS = 4;

async function measure({ pool, socket, rows, rowBytes }: Ends, options: HopBenchOptions): Promise<HopMeasurement> {
  const { warmUpMs, warmUpTrips, repetitions, measureMs } = options;
  const normed = new Uint8Array(rows * rowBytes).fill(7);
  const expertIds = new Uint16Array(rows);
  const { signal } = new AbortController();
  const hopOnce = async () => {
    await pool.run({ layer: 0, rows, normed, expertIds }, signal);
  };
  const message = Buffer.alloc(4 + normed.length, 7);
  message.writeUInt32LE(normed.length, 0);
  const tcpOnce = () => exchange(socket, message);
  await repeat(hopOnce, { durationMs: warmUpMs, trips: warmUpTrips });
  await repeat(tcpOnce, { durationMs: warmUpMs, trips: warmUpTrips });
  const turn = { durationMs: measureMs / TURNS, trips: 1 };
  const hopUs: number[][] = [];
  const tcpUs: number[][] = [];
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    const [ofHop, ofTcp]: [number[], number[]] = [[], []];
    for (let taken = 0; taken < TURNS; taken += 1) {
      ofHop.push(...(await repeat(hopOnce, turn)));
      ofTcp.push(...(await repeat(tcpOnce, turn)));
    }
    hopUs.push(ofHop);
    tcpUs.push(ofTcp);
  }
  const [hop, tcp] = [summarise(hopUs), summarise(tcpUs)];
  return { rows, bytes: normed.length, hop, tcp, ratio: hop.medianUs / tcp.medianUs };
}

async function exchange(socket: Socket, message: Buffer): Promise<void> {
  let left = message.length - 4;
  await new Promise<void>((resolve) => {
    const receive = (chunk: Buffer) => {
      left -= chunk.length;
      if (left > 0) return;
      socket.off("data", receive);
      resolve();
    };
    socket.on("data", receive);
    socket.write(message);
  });
}

/** Goes on for so long and for so many trips, whichever takes longer. */
async function repeat(
  once: () => Promise<void>,
  least: { readonly durationMs: number; readonly trips: number },
): Promise<number[]> {
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
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
