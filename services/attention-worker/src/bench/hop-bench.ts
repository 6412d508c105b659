import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { AppError, PlacementTable, parseWorkerId } from "@moiety/core";
import { type ModelIdentity, modelIdentity, rowBytesOf } from "@moiety/proto";
import { RemoteExpertPool } from "../experts/remote-expert-pool.js";
import { type LoopDelay, loopDelayOf } from "./loop-delay.js";
import { measureRoundTrips, type RoundTripSettings, type RoundTrips } from "./round-trips.js";

export interface HopMeasurement {
  readonly rows: number;
  /** Of the rows, each way. */
  readonly bytes: number;
  /** The hop over TCP, and over a Unix socket. */
  readonly hop: RoundTrips;
  readonly unixHop: RoundTrips;
  /** The same bytes over bare TCP, in turns with the hops. */
  readonly tcp: RoundTrips;
  /** Median of the hop over TCP over median of bare TCP. */
  readonly ratio: number;
}

/** Many calls at once, over TCP: what the link carries, and whether the event loops still turn. */
export interface HopLoad {
  readonly rows: number;
  /** Calls under way at any time. */
  readonly calls: number;
  /** Of rows, each way. */
  readonly mbPerSecond: number;
  readonly near: LoopDelay;
  readonly far: LoopDelay;
}

export interface HopBenchOptions extends RoundTripSettings {
  /** The far end, in another process: `serveHopEcho` of the expert worker. */
  readonly tcpAddress: string;
  readonly unixAddress: string;
  readonly tcpPort: number;
  /** Path at which this end listens for the far end's half of the link over Unix sockets. */
  readonly socket: string;
  /** Rows per call. */
  readonly rowCounts: readonly number[];
}

export interface HopLoadOptions {
  readonly rows: number;
  readonly calls: number;
  readonly durationMs: number;
  /** Begins, and then ends, the watch over the far end's event loop. */
  watchFar(watch: boolean): Promise<LoopDelay>;
}

/** gpt-oss's rows, 5,760 bytes in bf16, through one layer with one expert that does nothing. */
export function hopBenchModel(): ModelIdentity {
  const config = { layers: 1, hiddenSize: 2_880, experts: 1, expertsPerToken: 1 };
  return modelIdentity({ fingerprint: "hop-bench", config, activation: "bf16", kernelFamily: "none" });
}

/** The near end of a hop's measurement. */
export class HopBench {
  readonly #options: HopBenchOptions;
  readonly #tcpPool: RemoteExpertPool;
  readonly #unixPool: RemoteExpertPool;
  readonly #socket: Socket;
  readonly #rowBytes = rowBytesOf(hopBenchModel());

  private constructor(options: HopBenchOptions, pools: readonly [RemoteExpertPool, RemoteExpertPool], socket: Socket) {
    this.#options = options;
    [this.#tcpPool, this.#unixPool] = pools;
    this.#socket = socket;
  }

  /** @throws AppError UNAVAILABLE when the far end is not there. */
  static async open(options: HopBenchOptions): Promise<HopBench> {
    const socket = connect({ port: options.tcpPort, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    const tcpPool = await openPool("127.0.0.1:0", options.tcpAddress);
    const unixPool = await openPool(`unix:${options.socket}`, options.unixAddress);
    return new HopBench(options, [tcpPool, unixPool], socket);
  }

  /** The round trip of a call without compute, one at a time, beside bare TCP, for each number of rows. */
  async roundTrips(): Promise<HopMeasurement[]> {
    const results: HopMeasurement[] = [];
    for (const rows of this.#options.rowCounts) {
      const message = Buffer.alloc(4 + rows * this.#rowBytes, 7);
      message.writeUInt32LE(message.length - 4, 0);
      const ways = [this.#hop(this.#tcpPool, rows), this.#hop(this.#unixPool, rows), () => exchange(this.#socket, message)];
      const [hop, unixHop, tcp] = await measureRoundTrips(ways, this.#options);
      if (hop === undefined || unixHop === undefined || tcp === undefined) continue;
      results.push({ rows, bytes: message.length - 4, hop, unixHop, tcp, ratio: hop.medianUs / tcp.medianUs });
    }
    return results;
  }

  async load({ rows, calls, durationMs, watchFar }: HopLoadOptions): Promise<HopLoad> {
    const hop = this.#hop(this.#tcpPool, rows);
    const run = async (forMs: number) => {
      let done = 0;
      const endMs = performance.now() + forMs;
      const lane = async () => {
        for (; performance.now() < endMs; done += 1) await hop();
      };
      await Promise.all(Array.from({ length: calls }, lane));
      return done;
    };
    await run(durationMs / 4);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    await watchFar(true);
    delay.enable();
    const startMs = performance.now();
    const done = await run(durationMs);
    const seconds = (performance.now() - startMs) / 1_000;
    delay.disable();
    const far = await watchFar(false);
    return { rows, calls, mbPerSecond: (done * rows * this.#rowBytes) / seconds / 1e6, near: loopDelayOf(delay), far };
  }

  async close(): Promise<void> {
    this.#socket.destroy();
    await Promise.all([this.#tcpPool.close(), this.#unixPool.close()]);
  }

  #hop(pool: RemoteExpertPool, rows: number): () => Promise<void> {
    const call = { layer: 0, rows, normed: new Uint8Array(rows * this.#rowBytes).fill(7), expertIds: new Uint16Array(rows) };
    const { signal } = new AbortController();
    return async () => {
      await pool.run(call, signal);
    };
  }
}

async function openPool(listenAddress: string, address: string): Promise<RemoteExpertPool> {
  const pool = await RemoteExpertPool.start({ selfId: parseWorkerId("hop-bench"), listenAddress, model: hopBenchModel() });
  const workers = [{ id: parseWorkerId("hop-echo"), address, experts: [[0]] }];
  pool.updatePlacement(new PlacementTable({ epoch: 1, phase: "active", layers: 1, experts: 1, workers }));
  for (let waitedMs = 0; pool.missing().length > 0; waitedMs += 10) {
    if (waitedMs > 5_000) throw new AppError("UNAVAILABLE", `no link to ${address}: ${pool.missing().join("; ")}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return pool;
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
