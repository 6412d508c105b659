import { openCheckpoint } from "@moiety/model";
import { createRequestProducer, type RequestProducer } from "@moiety/queue";
import { planGatewayAlone } from "../bench-cluster.js";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { FarEnd } from "../far-end.js";
import { provideTiny } from "../model/slice.js";
import { pinApart } from "../pin.js";
import { CpuMeters } from "./cpu-meters.js";
import { followStream } from "./follower.js";
import { formatGateway } from "./gateway-report.js";
import { type PhaseFigures, type Reader, runPhase } from "./phase.js";
import type { SourceSettings } from "./source-messages.js";
import { readStream } from "./sse-client.js";

export interface GatewayFigures {
  readonly streams: number;
  /** Whether the gateway had a core for itself, and all others the rest. */
  readonly pinned: boolean;
  /** Few tokens per second and stream: what the relay adds to each. */
  readonly paced: PhaseFigures;
  /** Many. */
  readonly loaded: PhaseFigures;
  /** As fast as it goes: how much can be relayed. */
  readonly flatOut: PhaseFigures;
  /** The same without gateway and HTTP: this process follows the token logs itself. */
  readonly flatOutDirect: PhaseFigures;
  /** Tokens per second: of `flatOut` over those of `flatOutDirect`. */
  readonly ratio: number;
}

interface Pace {
  readonly intervalMs: number;
  readonly openingMs: number;
  readonly maxTokens: number;
}

interface Settings {
  readonly streams: number;
  readonly paced: Pace;
  readonly loaded: Pace;
  readonly flatOut: Pace;
}

const MODEL = "bench";
/** Tokens of a measured flat-out phase, all streams together. */
const FLAT_OUT_TOKENS = 102_400;
/** Offered by all paced streams together: a load that leaves room, so that delays are the relay's and not a queue's. */
const PACED_TOKENS_PER_SECOND = 2_000;
/** What one core of a gateway should bear. */
const LOADED_TOKENS_PER_SECOND = 20_000;
const MIN_INTERVAL_MS = 20;
/** With all paced streams open. */
const PACED_MS = 4_400;
const OPENING_MS_PER_STREAM = 10;
const MAX_OPENING_MS = 10_000;

function settingsOf({ quick, streams = quick ? 20 : 1_000 }: BenchmarkOptions): Settings {
  if (quick) {
    const pace = { intervalMs: 20, openingMs: 100, maxTokens: 48 };
    return { streams, paced: pace, loaded: pace, flatOut: { intervalMs: 0, openingMs: 0, maxTokens: 32 } };
  }
  const openingMs = Math.min(MAX_OPENING_MS, streams * OPENING_MS_PER_STREAM);
  const pace = (tokensPerSecond: number): Pace => {
    const intervalMs = Math.max(MIN_INTERVAL_MS, (streams / tokensPerSecond) * 1_000);
    return { intervalMs, openingMs, maxTokens: Math.ceil((openingMs + PACED_MS) / intervalMs) };
  };
  const flatOut = { intervalMs: 0, openingMs: 0, maxTokens: Math.min(1_024, Math.ceil(FLAT_OUT_TOKENS / streams)) };
  return { streams, paced: pace(PACED_TOKENS_PER_SECOND), loaded: pace(LOADED_TOKENS_PER_SECOND), flatOut };
}

/** Measures a real gateway and Redis, with a process that appends tokens where attention workers would. */
export async function benchmarkGateway(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const settings = settingsOf(options);
  const model = await provideTiny(options);
  const { fingerprint } = await openCheckpoint(model);
  const cluster = await planGatewayAlone({ model, modelName: MODEL, dataDir: options.dataDir, tell: options.tell });
  const { redisUrl } = cluster.plan;
  const { url } = cluster;
  const given: SourceSettings = { redisUrl, capacity: settings.streams, modelFingerprint: fingerprint };
  const source = new FarEnd(new URL("./token-source.js", import.meta.url), [JSON.stringify(given)]);
  const producer = createRequestProducer({ redisUrl, onError: () => undefined });
  const meters = new CpuMeters({ url, redisUrl, source });
  try {
    // A gateway is ready when there is a worker, and the source is that.
    await Promise.all([cluster.start(), source.next()]);
    if (options.pin) {
      const others = [...cluster.pids("redis"), ...(source.pid === undefined ? [] : [source.pid]), process.pid];
      pinApart(cluster.pids("gateway"), others);
    }
    const figures = await measure({ source, producer, meters, url, settings, pinned: options.pin ?? false });
    return { text: formatGateway(figures), figures };
  } finally {
    await Promise.all([source.close(), producer.close(), meters.close()]);
    await cluster.stop();
  }
}

interface Parts {
  readonly source: FarEnd;
  readonly producer: RequestProducer;
  readonly meters: CpuMeters;
  readonly url: string;
  readonly settings: Settings;
  readonly pinned: boolean;
}

async function measure(parts: Parts): Promise<GatewayFigures> {
  const { producer, url, settings, pinned } = parts;
  const { streams } = settings;
  const throughGateway: Reader = (call) => readStream({ ...call, url, model: MODEL });
  const direct: Reader = (call) => followStream(producer, call);
  const run = (pace: Pace, read: Reader) => runPhase(parts, { streams, ...pace, read });
  const { maxTokens } = settings.flatOut;
  // Unmeasured, for the compiler's sake.
  await run({ ...settings.flatOut, maxTokens: Math.ceil(maxTokens / 2) }, throughGateway);
  await run({ ...settings.flatOut, maxTokens: Math.ceil(maxTokens / 4) }, direct);
  const paced = await run(settings.paced, throughGateway);
  const loaded = await run(settings.loaded, throughGateway);
  const flatOut = await run(settings.flatOut, throughGateway);
  const flatOutDirect = await run(settings.flatOut, direct);
  const ratio = flatOut.tokensPerSecond / flatOutDirect.tokensPerSecond;
  return { streams, pinned, paced, loaded, flatOut, flatOutDirect, ratio };
}
