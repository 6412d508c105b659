import { connectRedis, disconnectRedis, type RedisConnection } from "@moiety/queue";
import type { FarEnd } from "../far-end.js";
import { type SourceOrder, sourceCpuSchema } from "./source-messages.js";

/** Processor seconds of each process, all of its threads, since it began. */
export interface CpuSeconds {
  readonly gateway: number;
  readonly redis: number;
  readonly source: number;
  /** This process: HTTP clients and arithmetic. */
  readonly clients: number;
}

export interface CpuMetersOptions {
  readonly url: string;
  readonly redisUrl: string;
  readonly source: FarEnd;
}

/** Asks every process of the measurement what it has used so far. Takes some milliseconds of each. */
export class CpuMeters {
  readonly #options: CpuMetersOptions;
  readonly #redis: RedisConnection;

  constructor(options: CpuMetersOptions) {
    this.#options = options;
    this.#redis = connectRedis({ redisUrl: options.redisUrl }, "bench");
  }

  async read(): Promise<CpuSeconds> {
    const { url, source } = this.#options;
    const order: SourceOrder = { kind: "cpu", intervalMs: 0, streams: 1 };
    const [metrics, info, ofSource] = await Promise.all([
      fetch(`${url}/metrics`).then((response) => response.text()),
      this.#redis.info("cpu"),
      source.ask(order),
    ]);
    return {
      gateway: numberIn(metrics, /^process_cpu_seconds_total\S* (\S+)/m),
      redis: numberIn(info, /used_cpu_user:(\S+)/) + numberIn(info, /used_cpu_sys:(\S+)/),
      source: sourceCpuSchema.parse(ofSource).cpuSeconds,
      clients: ownCpuSeconds(),
    };
  }

  close(): Promise<void> {
    return disconnectRedis(this.#redis);
  }
}

/** Of this process, all of its threads. */
export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

export function cpuBetween(before: CpuSeconds, after: CpuSeconds): CpuSeconds {
  return {
    gateway: after.gateway - before.gateway,
    redis: after.redis - before.redis,
    source: after.source - before.source,
    clients: after.clients - before.clients,
  };
}

function numberIn(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}
