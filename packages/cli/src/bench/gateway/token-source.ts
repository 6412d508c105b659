// Stands where attention workers would: claims real requests and appends tokens at a pace. Forked by gateway-benchmark.ts.
import { type Claim, createRequestConsumer } from "@moiety/queue";
import { ownCpuSeconds } from "./cpu-meters.js";
import {
  type SourceCpu,
  type SourceReport,
  type SourceStream,
  sourceOrderSchema,
  sourceSettingsSchema,
} from "./source-messages.js";
import { nowMs, streamOfPrompt } from "./stream-prompt.js";
import { TOKEN, TokenEngine } from "./token-engine.js";

const BEAT_INTERVAL_MS = 500;
/** Sequences of one engine. */
const ENGINE_STREAMS = 64;
const MAX_ENGINES = 256;

const settings = sourceSettingsSchema.parse(JSON.parse(process.argv[2] ?? "{}"));
let order = sourceOrderSchema.parse({ kind: "begin" });
let streams: SourceStream[] = [];
let faults: string[] = [];
const engines = new Map<number, TokenEngine>();

const consumer = createRequestConsumer({
  redisUrl: settings.redisUrl,
  capacity: settings.capacity,
  onError: (error) => {
    if (faults.length < 10) faults.push(`${error.code}: ${error.message}`);
  },
});
process.once("disconnect", () => process.exit(0));
process.on("message", (message) => {
  const next = sourceOrderSchema.parse(message);
  if (next.kind === "cpu") {
    const used: SourceCpu = { cpuSeconds: ownCpuSeconds() };
    process.send?.(used);
    return;
  }
  order = next;
  const report: SourceReport = { streams, faults };
  streams = [];
  faults = [];
  process.send?.(report);
});
await consumer.start((claim) => {
  serve(claim, nowMs()).catch((error: unknown) => faults.push(String(error)));
});
const beat = () =>
  consumer.beat({
    workerId: "token-source",
    modelFingerprint: settings.modelFingerprint,
    maxContextTokens: 4_096,
    running: 0,
    waiting: 0,
    kvUsage: 0,
    ...(settings.grammarEngine === undefined ? {} : { grammarEngine: settings.grammarEngine }),
  });
await beat();
setInterval(() => beat().catch(() => undefined), BEAT_INTERVAL_MS);
process.send?.("ready");

async function serve(claim: Claim, claimedMs: number): Promise<void> {
  const { intervalMs } = order;
  const stream = streamOfPrompt(claim.record.promptTokens);
  const appendedMs = await (intervalMs === 0 ? flatOut(claim) : engineOf(stream).run(claim, intervalMs));
  streams.push({ stream, claimedMs, appendedMs });
  await claim.finish({
    reason: "length",
    promptTokens: claim.record.promptTokens.length,
    cachedTokens: 0,
    outputTokens: appendedMs.length,
    queueMs: 0,
    prefillMs: 0,
    decodeMs: 0,
  });
}

function engineOf(stream: number): TokenEngine {
  const number = Math.floor(stream / ENGINE_STREAMS) % MAX_ENGINES;
  const engine = engines.get(number) ?? new TokenEngine((fault) => faults.push(fault));
  engines.set(number, engine);
  return engine;
}

/** One append after the other, as fast as Redis takes them. */
async function flatOut(claim: Claim): Promise<number[]> {
  const { answer } = settings;
  const appendedMs: number[] = [];
  while (appendedMs.length < claim.record.params.maxTokens && !claim.signal.aborted) {
    const index = appendedMs.length;
    appendedMs.push(nowMs());
    const token = answer[Math.min(index, answer.length - 1)] ?? TOKEN;
    if ((await claim.append(index, [{ token }])) !== "appended") break;
  }
  return appendedMs;
}
