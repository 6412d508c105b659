import { join } from "node:path";
import { GRAMMAR_ENGINE, isGrammarAddonBuilt } from "@moiety/grammar";
import { openCheckpoint, openTokenizer } from "@moiety/model";
import { DEFAULT_MODEL_FOLDER } from "../../cluster/default-model.js";
import { planGatewayAlone } from "../bench-cluster.js";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { FarEnd } from "../far-end.js";
import type { SourceOrder, SourceSettings } from "../gateway/source-messages.js";
import { readCounters, sameCounters, settledCounters } from "./counters.js";
import { runMemoryLoad } from "./memory-load.js";
import { type MemorySample, readMemory } from "./memory-meter.js";
import { formatMemory, growthOf, type MemoryFigures, stretchesOf } from "./memory-report.js";
import { MODEL, requestMix } from "./request-mix.js";

const REQUESTS = 20_000;
const QUICK_REQUESTS = 400;
const CONCURRENCY = 64;
const SAMPLES = 200;
const ANSWER = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>So it is";

/** Measures what a gateway's memory does while it answers very many requests of all kinds. */
export async function benchmarkMemory(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const { quick, dataDir, tell, requests = quick ? QUICK_REQUESTS : REQUESTS } = options;
  const cluster = await planGatewayAlone({ model: DEFAULT_MODEL_FOLDER, modelName: MODEL, dataDir, tell });
  const source = new FarEnd(new URL("../gateway/token-source.js", import.meta.url), [
    JSON.stringify(await settingsOf(cluster.plan.redisUrl)),
  ]);
  try {
    // A gateway is ready when there is a worker, and the source is that.
    await Promise.all([cluster.start(), source.next()]);
    const figures = await measure({ url: cluster.url, source, requests });
    return { text: formatMemory(figures), figures };
  } finally {
    await source.close();
    await cluster.stop();
  }
}

async function settingsOf(redisUrl: string): Promise<SourceSettings> {
  const { fingerprint } = await openCheckpoint(DEFAULT_MODEL_FOLDER);
  const tokenizer = await openTokenizer(join(DEFAULT_MODEL_FOLDER, "tokenizer.json"));
  return {
    redisUrl,
    capacity: 4 * CONCURRENCY,
    modelFingerprint: fingerprint,
    answer: [...(await tokenizer.encode(ANSWER, { allowSpecial: true }))],
    ...(isGrammarAddonBuilt() ? { grammarEngine: GRAMMAR_ENGINE } : {}),
  };
}

async function measure(parts: {
  readonly url: string;
  readonly source: FarEnd;
  readonly requests: number;
}): Promise<MemoryFigures> {
  const { url, source, requests } = parts;
  const every = Math.max(1, Math.floor(requests / SAMPLES));
  const samples: MemorySample[] = [];
  const order: SourceOrder = { kind: "begin", intervalMs: 0, streams: 1 };
  const sample = async (count: number) => {
    samples.push(await readMemory(url, count));
    // The source keeps what it served until it has reported it.
    await source.ask(order);
  };
  let last: Promise<void> = Promise.resolve();
  const before = await readCounters(url);
  const begunMs = performance.now();
  const { byKind, faults } = await runMemoryLoad({
    url,
    requests,
    concurrency: CONCURRENCY,
    make: requestMix(isGrammarAddonBuilt()),
    ended: (count) => {
      if (count % every !== 0) return undefined;
      last = last.then(() => sample(count));
      return last;
    },
  });
  const seconds = (performance.now() - begunMs) / 1_000;
  const after = await settledCounters(url, before);
  const drift = sameCounters(before, after) ? [] : ["counters drifted"];
  const stretches = stretchesOf(samples);
  const counters = { before, after };
  return { requests, seconds, byKind, faults: [...faults, ...drift], counters, stretches, growth: growthOf(stretches) };
}
