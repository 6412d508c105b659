import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { openCheckpoint } from "@moiety/model";
import { createRequestProducer, type RequestProducer } from "@moiety/queue";
import { planBenchCluster } from "../bench-cluster.js";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { FarEnd } from "../far-end.js";
import { provideTiny } from "../model/slice.js";
import { formatTable, percent, short } from "../table.js";
import { followStream } from "./follower.js";
import { type RelayFigures, relayFigures } from "./relay-figures.js";
import { type SourceOrder, type SourceSettings, sourceReportSchema } from "./source-messages.js";
import { type ClientStream, readStream } from "./sse-client.js";

export interface GatewayFigures {
  readonly streams: number;
  /** A token per stream and interval: what the relay adds to each. */
  readonly paced: RelayFigures & { readonly intervalMs: number };
  /** As fast as it goes: how much can be relayed. */
  readonly flatOut: RelayFigures;
  /** The same without gateway and HTTP: this process follows the token logs itself. */
  readonly flatOutDirect: RelayFigures;
  /** Tokens per second: of `flatOut` over those of `flatOutDirect`. */
  readonly ratio: number;
}

interface Settings {
  readonly streams: number;
  readonly intervalMs: number;
  /** Time over which paced streams are opened. */
  readonly openingMs: number;
  readonly pacedTokens: number;
  readonly flatOutTokens: number;
}

const MODEL = "bench";
/** No phase takes longer: what has not come by then counts as an error. */
const PHASE_TIMEOUT_MS = 120_000;
/** For the source to hear of the last finish. */
const SOURCE_SETTLE_MS = 200;

/** Tokens of a measured flat-out phase, all streams together. */
const FLAT_OUT_TOKENS = 51_200;
/** Offered by all paced streams together: a load that leaves room, so that delays are the relay's and not a queue's. */
const PACED_TOKENS_PER_SECOND = 2_000;
/** With all paced streams open. */
const PACED_MS = 4_400;
const OPENING_MS_PER_STREAM = 10;

function settingsOf({ quick, streams = quick ? 20 : 200 }: BenchmarkOptions): Settings {
  if (quick) return { streams, intervalMs: 20, openingMs: 200, pacedTokens: 16, flatOutTokens: 32 };
  const intervalMs = Math.max(20, (streams / PACED_TOKENS_PER_SECOND) * 1_000);
  const openingMs = streams * OPENING_MS_PER_STREAM;
  return {
    streams,
    intervalMs,
    openingMs,
    pacedTokens: Math.ceil((openingMs + PACED_MS) / intervalMs),
    flatOutTokens: Math.min(1_024, Math.ceil(FLAT_OUT_TOKENS / streams)),
  };
}

/** Measures a real gateway and Redis, with a process that appends tokens where attention workers would. */
export async function benchmarkGateway(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const settings = settingsOf(options);
  const model = await provideTiny(options);
  const { fingerprint } = await openCheckpoint(model);
  const cluster = await planBenchCluster({
    cluster: {
      model,
      modelName: MODEL,
      host: "127.0.0.1",
      experts: 0,
      attention: 1,
      colocated: true,
      replicas: 1,
      threads: 1,
    },
    kinds: ["redis", "gateway"],
    dataDir: options.dataDir,
    tell: options.tell,
  });
  const { redisUrl } = cluster.plan;
  const port = cluster.plan.services[0]?.readyPort ?? 0;
  const given: SourceSettings = { redisUrl, capacity: settings.streams, modelFingerprint: fingerprint };
  const source = new FarEnd(new URL("./token-source.js", import.meta.url), [JSON.stringify(given)]);
  const producer = createRequestProducer({ redisUrl, onError: () => undefined });
  try {
    // A gateway is ready when there is a worker, and the source is that.
    await Promise.all([cluster.start(), source.next()]);
    const figures = await measure({ source, producer, url: `http://127.0.0.1:${port}`, settings });
    return { text: format(figures), figures };
  } finally {
    await Promise.all([source.close(), producer.close()]);
    await cluster.stop();
  }
}

interface Parts {
  readonly source: FarEnd;
  readonly producer: RequestProducer;
  readonly url: string;
  readonly settings: Settings;
}

async function measure(parts: Parts): Promise<GatewayFigures> {
  const { producer, url, settings } = parts;
  const { streams, intervalMs, openingMs, pacedTokens, flatOutTokens } = settings;
  const flat = { intervalMs: 0, openingMs: 0, maxTokens: flatOutTokens };
  const throughGateway: Reader = (call) => readStream({ ...call, url, model: MODEL });
  const direct: Reader = (call) => followStream(producer, call);
  // Unmeasured, for the compiler's sake.
  await runPhase(parts, { ...flat, maxTokens: Math.ceil(flatOutTokens / 2), read: throughGateway });
  await runPhase(parts, { ...flat, maxTokens: Math.ceil(flatOutTokens / 4), read: direct });
  const paced = await runPhase(parts, { intervalMs, openingMs, maxTokens: pacedTokens, read: throughGateway });
  const flatOut = await runPhase(parts, { ...flat, read: throughGateway });
  const flatOutDirect = await runPhase(parts, { ...flat, read: direct });
  const ratio = flatOut.tokensPerSecond / flatOutDirect.tokensPerSecond;
  return { streams, paced: { ...paced, intervalMs }, flatOut, flatOutDirect, ratio };
}

type Reader = (call: { stream: number; maxTokens: number; signal: AbortSignal }) => Promise<ClientStream>;

interface Phase {
  readonly intervalMs: number;
  readonly openingMs: number;
  readonly maxTokens: number;
  readonly read: Reader;
}

/** Opens all streams and waits for their ends. */
async function runPhase({ source, settings }: Parts, { intervalMs, openingMs, maxTokens, read }: Phase): Promise<RelayFigures> {
  const { streams } = settings;
  const order: SourceOrder = { kind: "begin", intervalMs, streams };
  await source.ask(order);
  const signal = AbortSignal.timeout(PHASE_TIMEOUT_MS);
  setMaxListeners(0, signal);
  const open = async (stream: number) => {
    await sleep((openingMs * stream) / streams);
    return await read({ stream, maxTokens, signal });
  };
  const clients = await Promise.all(Array.from({ length: streams }, (_, stream) => open(stream)));
  await sleep(SOURCE_SETTLE_MS);
  const report = sourceReportSchema.parse(await source.ask(order));
  return relayFigures(clients, report, maxTokens);
}

function format({ streams, paced, flatOut, flatOutDirect, ratio }: GatewayFigures): string {
  const throughput = formatTable(
    ["phase", "tokens", "tokens/s", "source's", "of source", "of direct", "errors"],
    [
      [`a token per ${paced.intervalMs} ms`, ...throughputCells(paced), "-", String(paced.errors)],
      ["flat out", ...throughputCells(flatOut), `${short(ratio)}x`, String(flatOut.errors)],
      ["flat out, log followed directly", ...throughputCells(flatOutDirect), "1.00x", String(flatOutDirect.errors)],
    ],
  );
  const added = formatTable(
    ["paced, ms", "median", "p99"],
    (
      [
        ["added to the first token", paced.addedToFirstToken],
        ["of it, request to claim", paced.requestToClaim],
        ["append to client", paced.appendToClient],
        ["gap at the source", paced.sourceGap],
        ["gap at the client", paced.clientGap],
        ["added to a gap", paced.addedToGap],
      ] as const
    ).map(([name, spread]) => [name, spread.median.toFixed(2), spread.p99.toFixed(2)]),
  );
  const faults = [...new Set([...paced.faults, ...flatOut.faults, ...flatOutDirect.faults])];
  return [
    `${streams} streams at once; Redis, gateway, source and clients share this machine; flat out, all are opened at the same moment, else one per ${OPENING_MS_PER_STREAM} ms.`,
    throughput,
    "",
    added,
    ...(faults.length === 0 ? [] : ["", `faults: ${faults.join("; ")}`]),
  ].join("\n");
}

function throughputCells({ streams, tokensPerStream, tokensPerSecond, sourceTokensPerSecond }: RelayFigures): string[] {
  return [
    String(streams * tokensPerStream),
    tokensPerSecond.toFixed(0),
    sourceTokensPerSecond.toFixed(0),
    percent(tokensPerSecond / sourceTokensPerSecond),
  ];
}
