import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { type EvaluationExperts, openForwardBench } from "@moiety/attention-worker";
import { invariant } from "@moiety/core";
import { type Activation, benchmarkKernels, type KernelLevel, type MachineLimits } from "@moiety/kernels";
import { openCheckpoint } from "@moiety/model";
import { createLogger } from "@moiety/runtime";
import type { ClusterPlan } from "../../cluster/run-plan.js";
import { planBenchCluster } from "../bench-cluster.js";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { type CaseFigures, type CaseSettings, contextTokensFor, FULL, measureCase, QUICK } from "./model-cases.js";
import { EXPERT_WORKERS, type ModelFigures, type ModelRun } from "./model-figures.js";
import { formatModelRuns } from "./model-report.js";
import { provideSlice } from "./slice.js";

interface RunOptions {
  readonly directory: string;
  readonly threads: number;
  readonly activation: Activation;
  readonly settings: CaseSettings;
  readonly bench: BenchmarkOptions;
}

/** Measures the forward pass with its experts in this process, and with its experts on two workers of this machine. */
export async function benchmarkModel(bench: BenchmarkOptions): Promise<BenchmarkResult> {
  const directory = await provideSlice(bench);
  const { layers, hiddenSize, experts, vocabSize } = (await openCheckpoint(directory)).config;
  const settings = bench.quick ? QUICK : FULL;
  const runs: ModelRun[] = [];
  for (const activation of bench.activations) {
    for (const threads of bench.threads ?? [availableParallelism()]) {
      const options: RunOptions = { directory, threads, activation, settings, bench };
      runs.push(await runCoLocated(options), await runSharded(options));
    }
  }
  const checkpoint = { directory, layers, hiddenSize, experts, vocabSize };
  const figures: ModelFigures = { checkpoint, routing: "synthetic", settings, runs };
  return { text: formatModelRuns(figures), figures };
}

function runCoLocated(options: RunOptions): Promise<ModelRun> {
  options.bench.tell(`model: co-located, ${options.activation}, ${options.threads} thread(s)`);
  return measureRun(options, { kind: "co-located" }, 0);
}

async function runSharded(options: RunOptions): Promise<ModelRun> {
  const { directory, threads, activation, bench } = options;
  // The experts' workers compute while the attention waits, and share the same cores.
  const expertThreads = bench.expertThreads ?? Math.max(1, Math.floor(threads / EXPERT_WORKERS));
  bench.tell(`model: sharded, ${activation}, ${threads} thread(s), experts ${EXPERT_WORKERS} x ${expertThreads}`);
  const cluster = await planBenchCluster({
    cluster: {
      model: directory,
      modelName: "bench",
      host: "127.0.0.1",
      experts: EXPERT_WORKERS,
      attention: 1,
      colocated: false,
      replicas: 1,
      threads: expertThreads,
      activation,
      ...(bench.level === undefined ? {} : { kernelLevel: bench.level }),
    },
    kinds: ["router", "expert-worker"],
    dataDir: bench.dataDir,
    tell: bench.tell,
  });
  const routerAddress = cluster.plan.services.find(({ kind }) => kind === "router")?.environment["MOIETY_LISTEN_ADDRESS"] ?? "";
  try {
    await cluster.start();
    const listenAddress = neighbourOf(cluster.plan);
    return await measureRun(options, { kind: "router", routerAddress, listenAddress }, expertThreads);
  } finally {
    await cluster.stop();
  }
}

/** Where this process listens: as the expert workers do. */
function neighbourOf(plan: ClusterPlan): string {
  const address = plan.services.find(({ kind }) => kind === "expert-worker")?.environment["MOIETY_LISTEN_ADDRESS"] ?? "";
  return address.startsWith("unix:") ? `unix:${join(dirname(address.slice("unix:".length)), "bench.sock")}` : "127.0.0.1:0";
}

async function measureRun(options: RunOptions, experts: EvaluationExperts, expertThreads: number): Promise<ModelRun> {
  const { directory, threads, activation, settings, bench } = options;
  const level = bench.level === undefined ? {} : { level: bench.level };
  const before = await measureLimits(threads, level);
  const forward = await openForwardBench({
    directory,
    experts,
    threads,
    ...level,
    activation,
    maxSequences: Math.max(...settings.cases.map(({ kind, rows }) => (kind === "decode" ? rows : 1))),
    contextTokens: contextTokensFor(settings),
    logger: createLogger({ service: "bench", instance: "bench", level: "silent" }),
  });
  try {
    const cases: CaseFigures[] = [];
    for (const each of settings.cases) cases.push(await measureCase(forward, each, settings));
    const after = await measureLimits(threads, level);
    return {
      experts: experts.kind === "router" ? "sharded" : "co-located",
      activation,
      level: forward.level,
      attentionThreads: threads,
      expertThreads,
      limits: {
        threads,
        readGbPerSecond: Math.max(before.readGbPerSecond, after.readGbPerSecond),
        fmaGflopPerSecond: Math.max(before.fmaGflopPerSecond, after.fmaGflopPerSecond),
        bf16GflopPerSecond: Math.max(before.bf16GflopPerSecond, after.bf16GflopPerSecond),
        int8GopPerSecond: Math.max(before.int8GopPerSecond, after.int8GopPerSecond),
      },
      cases,
    };
  } finally {
    await forward.close();
  }
}

async function measureLimits(threads: number, level: { readonly level?: KernelLevel }): Promise<MachineLimits> {
  const { limits } = await benchmarkKernels({ ...level, threads: [threads], rows: [] });
  invariant(limits[0] !== undefined, "one number of threads gives one line of limits");
  return limits[0];
}
