// Stands where attention workers would: claims real requests and appends tokens at a pace. Forked by gateway-benchmark.ts.
import { setTimeout as sleep } from "node:timers/promises";
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

const BEAT_INTERVAL_MS = 500;
/** A letter, as any tokenizer of bytes has it. */
const TOKEN = 40;

const settings = sourceSettingsSchema.parse(JSON.parse(process.argv[2] ?? "{}"));
let order = sourceOrderSchema.parse({ kind: "begin" });
let streams: SourceStream[] = [];
let faults: string[] = [];

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
  });
await beat();
setInterval(() => beat().catch(() => undefined), BEAT_INTERVAL_MS);
process.send?.("ready");

async function serve(claim: Claim, claimedMs: number): Promise<void> {
  const { intervalMs, streams: count } = order;
  const stream = streamOfPrompt(claim.record.promptTokens);
  const appendedMs = await (intervalMs === 0 ? flatOut(claim) : paced(claim, intervalMs, stream / count));
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

/** One append after the other, as fast as Redis takes them. */
async function flatOut(claim: Claim): Promise<number[]> {
  const appendedMs: number[] = [];
  while (appendedMs.length < claim.record.params.maxTokens && !claim.signal.aborted) {
    appendedMs.push(nowMs());
    if ((await claim.append(appendedMs.length - 1, [{ token: TOKEN }])) !== "appended") break;
  }
  return appendedMs;
}

/** One append per interval, not waiting for Redis, as the engine does. `phase` (0 to 1) keeps streams from being in step. */
async function paced(claim: Claim, intervalMs: number, phase: number): Promise<number[]> {
  const appendedMs: number[] = [];
  const appends: Promise<unknown>[] = [];
  const startMs = nowMs() + phase * intervalMs;
  while (appendedMs.length < claim.record.params.maxTokens && !claim.signal.aborted) {
    const dueMs = startMs + appendedMs.length * intervalMs;
    await sleep(Math.max(0, dueMs - nowMs()));
    appendedMs.push(nowMs());
    appends.push(claim.append(appendedMs.length - 1, [{ token: TOKEN }]));
  }
  await Promise.all(appends);
  return appendedMs;
}
