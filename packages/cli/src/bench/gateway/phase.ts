import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { FarEnd } from "../far-end.js";
import { type CpuMeters, type CpuSeconds, cpuBetween } from "./cpu-meters.js";
import { type RelayFigures, relayFigures } from "./relay-figures.js";
import { type SourceOrder, sourceReportSchema } from "./source-messages.js";
import type { ClientStream } from "./sse-client.js";
import { nowMs } from "./stream-prompt.js";

export type Reader = (call: { stream: number; maxTokens: number; signal: AbortSignal }) => Promise<ClientStream>;

export interface Phase {
  readonly streams: number;
  /** Between two tokens of a stream; 0: as fast as Redis takes them. */
  readonly intervalMs: number;
  /** Time over which the streams are opened. */
  readonly openingMs: number;
  readonly maxTokens: number;
  readonly read: Reader;
}

/** What the processes used of the processors while every stream was open; of a phase without pace, from its beginning to its end. */
export interface CpuWindow {
  readonly ms: number;
  /** That clients received. */
  readonly tokens: number;
  readonly seconds: CpuSeconds;
}

export interface PhaseFigures extends RelayFigures {
  readonly intervalMs: number;
  readonly cpu: CpuWindow;
  /** What one core would relay, if the rest of the machine kept up. */
  readonly tokensPerGatewayCpuSecond: number;
}

/** No phase takes longer: what has not come by then counts as an error. */
const PHASE_TIMEOUT_MS = 120_000;
/** For the source to hear of the last finish. */
const SOURCE_SETTLE_MS = 200;
/** After the last stream was opened, and before the first one ends. */
const WINDOW_MARGIN_MS = 300;

/** Opens all streams and waits for their ends. */
export async function runPhase(parts: { source: FarEnd; meters: CpuMeters }, phase: Phase): Promise<PhaseFigures> {
  const { source, meters } = parts;
  const { streams, intervalMs, openingMs, maxTokens, read } = phase;
  const order: SourceOrder = { kind: "begin", intervalMs, streams };
  await source.ask(order);
  const signal = AbortSignal.timeout(PHASE_TIMEOUT_MS);
  setMaxListeners(0, signal);
  const open = async (stream: number) => {
    await sleep((openingMs * stream) / streams);
    return await read({ stream, maxTokens, signal });
  };
  const startMs = nowMs();
  const paced = intervalMs > 0;
  const first = paced ? readAt(meters, startMs + openingMs + WINDOW_MARGIN_MS) : readAt(meters, 0);
  const middle = paced ? readAt(meters, startMs + maxTokens * intervalMs - WINDOW_MARGIN_MS) : undefined;
  if (!paced) await first;
  const clients = await Promise.all(Array.from({ length: streams }, (_, stream) => open(stream)));
  const begin = await first;
  const end = await (middle ?? readAt(meters, 0));
  await sleep(SOURCE_SETTLE_MS);
  const report = sourceReportSchema.parse(await source.ask(order));
  const tokens = clients.reduce(
    (sum, { receivedMs }) => sum + receivedMs.filter((ms) => ms >= begin.atMs && ms < end.atMs).length,
    0,
  );
  const seconds = cpuBetween(begin.seconds, end.seconds);
  return {
    ...relayFigures(clients, report, maxTokens),
    intervalMs,
    cpu: { ms: end.atMs - begin.atMs, tokens, seconds },
    tokensPerGatewayCpuSecond: tokens / seconds.gateway,
  };
}

async function readAt(meters: CpuMeters, atMs: number): Promise<{ readonly atMs: number; readonly seconds: CpuSeconds }> {
  await sleep(Math.max(0, atMs - nowMs()));
  const seconds = await meters.read();
  return { atMs: nowMs(), seconds };
}
