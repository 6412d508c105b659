import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError } from "@moiety/core";
import { connectRedis, createRequestProducer, disconnectRedis, openBullAlone, type RedisConnection } from "@moiety/queue";
import { planRedisAlone } from "../bench-cluster.js";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { FarEnd } from "../far-end.js";
import { ownCpuSeconds } from "../gateway/cpu-meters.js";
import { followStream } from "../gateway/follower.js";
import { nowMs } from "../gateway/stream-prompt.js";
import { type Spread, spreadOf } from "../quantiles.js";
import { formatTable, percent } from "../table.js";
import { type FarEndSettings, farEndAnswerSchema } from "./queue-messages.js";

const FULL = { atOnce: 256, tokens: 4, warmUp: 3_000, requests: 12_000, single: 400, pauseMs: 5 };
const QUICK = { atOnce: 16, tokens: 4, warmUp: 20, requests: 100, single: 20, pauseMs: 5 };
type Settings = typeof FULL;
const PHASE_TIMEOUT_MS = 60_000;

interface Throughput {
  readonly requestsPerSecond: number;
  /** Cores that each process was busy with. */
  readonly cores: { readonly submits: number; readonly redis: number; readonly serves: number };
}

interface Latencies {
  /** A PING, at the same moments. */
  readonly ping: Spread;
  readonly submitToClaim: Spread;
  readonly submitToFirstToken: Spread;
}

/** Measures the request queue through a real Redis: from submit to the finish that a follower sees. */
export async function benchmarkQueue(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const settings = options.quick ? QUICK : FULL;
  const cluster = await planRedisAlone(options);
  const { redisUrl } = cluster.plan;
  await cluster.start();
  const redis = connectRedis({ redisUrl }, "bench");
  try {
    const { whole, latencies } = await measureQueue(redisUrl, redis, settings);
    const bullAlone = await measureBull(redisUrl, redis, settings);
    const figures = { ...settings, latencies, whole, bullAlone };
    return { text: format(settings, figures), figures };
  } finally {
    await disconnectRedis(redis);
    await cluster.stop();
  }
}

async function withFarEnd<T>(settings: FarEndSettings, work: (farEnd: FarEnd) => Promise<T>): Promise<T> {
  const farEnd = new FarEnd(new URL("./queue-far-end.js", import.meta.url), [JSON.stringify(settings)]);
  try {
    await farEnd.next();
    return await work(farEnd);
  } finally {
    await farEnd.close();
  }
}

function measureQueue(redisUrl: string, redis: RedisConnection, { atOnce, tokens, warmUp, requests, single, pauseMs }: Settings) {
  return withFarEnd({ redisUrl, capacity: 2 * atOnce, tokens, bullAlone: false }, async (farEnd) => {
    const producer = createRequestProducer({ redisUrl, onError: () => undefined });
    const { signal } = new AbortController();
    setMaxListeners(0, signal);
    const run = async (stream: number) => {
      const seen = await followStream(producer, { stream, maxTokens: tokens, signal });
      if (seen.fault !== undefined || seen.receivedMs.length !== tokens) {
        throw new AppError("INTERNAL", `a request of the measurement failed: ${seen.fault ?? "not all tokens came"}`);
      }
      return seen;
    };
    try {
      await inParallel(atOnce, warmUp, run);
      const whole = await throughput(farEnd, redis, requests, () => inParallel(atOnce, requests, run));
      await farEnd.ask({});
      const sent: { sentMs: number; firstMs: number }[] = [];
      const pings: number[] = [];
      for (let request = 0; request < single; request++) {
        const { sentMs, receivedMs } = await run(request);
        sent.push({ sentMs, firstMs: receivedMs[0] ?? Number.NaN });
        await sleep(pauseMs);
        const askedMs = nowMs();
        await redis.ping();
        pings.push(nowMs() - askedMs);
      }
      const { claimed } = farEndAnswerSchema.parse(await farEnd.ask({}));
      const latencies: Latencies = {
        ping: spreadOf(pings),
        submitToClaim: spreadOf(claimed.map(([request, atMs]) => atMs - (sent[request]?.sentMs ?? Number.NaN))),
        submitToFirstToken: spreadOf(sent.map(({ sentMs, firstMs }) => firstMs - sentMs)),
      };
      return { whole, latencies };
    } finally {
      await producer.close();
    }
  });
}

function measureBull(redisUrl: string, redis: RedisConnection, { atOnce, warmUp, requests }: Settings): Promise<Throughput> {
  return withFarEnd({ redisUrl, capacity: 2 * atOnce, tokens: 0, bullAlone: true }, async (farEnd) => {
    const queue = openBullAlone(redisUrl);
    const untilDone = async (count: number) => {
      const lateMs = nowMs() + PHASE_TIMEOUT_MS;
      while (farEndAnswerSchema.parse(await farEnd.ask({})).done < count) {
        if (nowMs() > lateMs) throw new AppError("DEADLINE_EXCEEDED", "not every job was done in time");
        await sleep(5);
      }
    };
    try {
      await inParallel(atOnce, warmUp, queue.add);
      await untilDone(warmUp);
      return await throughput(farEnd, redis, requests, async () => {
        await inParallel(atOnce, requests, queue.add);
        await untilDone(warmUp + requests);
      });
    } finally {
      await queue.close();
    }
  });
}

/** So many at a time, until all were run. */
async function inParallel(atOnce: number, count: number, run: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

async function throughput(farEnd: FarEnd, redis: RedisConnection, count: number, work: () => Promise<void>): Promise<Throughput> {
  const cpu = async () => {
    const info = await redis.info("cpu");
    const ofRedis = (name: string) => Number(new RegExp(`used_cpu_${name}:(\\S+)`).exec(info)?.[1]);
    const { cpuSeconds } = farEndAnswerSchema.parse(await farEnd.ask({}));
    return { submits: ownCpuSeconds(), redis: ofRedis("user") + ofRedis("sys"), serves: cpuSeconds };
  };
  const before = await cpu();
  const startMs = nowMs();
  await work();
  const seconds = (nowMs() - startMs) / 1_000;
  const after = await cpu();
  const cores = {
    submits: (after.submits - before.submits) / seconds,
    redis: (after.redis - before.redis) / seconds,
    serves: (after.serves - before.serves) / seconds,
  };
  return { requestsPerSecond: count / seconds, cores };
}

interface QueueFigures {
  readonly latencies: Latencies;
  readonly whole: Throughput;
  readonly bullAlone: Throughput;
}

function format({ atOnce, tokens, single }: Settings, { latencies, whole, bullAlone }: QueueFigures): string {
  const row = (name: string, { requestsPerSecond, cores }: Throughput) => [
    name,
    requestsPerSecond.toFixed(0),
    percent(requestsPerSecond / bullAlone.requestsPerSecond),
    ...[cores.submits, cores.redis, cores.serves].map((used) => used.toFixed(2)),
  ];
  const times = (name: string, { median, p99 }: Spread) => [
    name,
    median.toFixed(2),
    p99.toFixed(2),
    (median / latencies.ping.median).toFixed(1),
  ];
  return [
    `Requests of ${tokens} tokens, ${atOnce} at a time: submitted, claimed, appended to token by token, finished, followed to their end.`,
    formatTable(
      ["throughput", "requests/s", "of BullMQ alone", "CPU: submits", "Redis", "serves"],
      [row("submit to finish", whole), row("BullMQ alone, empty jobs", bullAlone)],
    ),
    "",
    `One request at a time, ${single} of them:`,
    formatTable(
      ["ms", "median", "p99", "of a PING"],
      [
        times("PING", latencies.ping),
        times("submit to claim", latencies.submitToClaim),
        times("submit to first token", latencies.submitToFirstToken),
      ],
    ),
  ].join("\n");
}
