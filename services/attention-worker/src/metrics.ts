import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { EngineObserver } from "./engine-observer.js";
import type { ExpertPoolObserver } from "./experts/expert-pool-observer.js";
import type { GrammarObserver } from "./requests/constraint.js";

export interface AttentionMetricsOptions {
  readonly registry: Registry;
  readonly modelName: string;
  /** The worker's id. */
  readonly engine: string;
}

export interface AttentionMetrics {
  readonly engine: EngineObserver;
  readonly experts: ExpertPoolObserver;
  readonly grammar: GrammarObserver;
}

const REQUEST_SECONDS = [0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960];
const STEP_TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
const HOP_SECONDS = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const COMPILE_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2];
const MASK_SECONDS = [0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2];

/** All metrics of an attention worker: vLLM's names where it has them, `moiety_*` for what it has no name for. */
export function createAttentionMetrics(options: AttentionMetricsOptions): AttentionMetrics {
  const { registry } = options;
  return { engine: engineMetrics(options), experts: expertMetrics(registry), grammar: grammarMetrics(registry) };
}

function grammarMetrics(registry: Registry): GrammarObserver {
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, registers: [registry] });
  const compile = histogram(
    "moiety_grammar_compile_seconds",
    "Until a request's grammar was compiled, waiting included",
    COMPILE_SECONDS,
  );
  const mask = histogram(
    "moiety_grammar_mask_seconds",
    "Until the mask of a draw was known, waiting for a thread included",
    MASK_SECONDS,
  );
  return {
    onCompile: (durationMs) => compile.observe(durationMs / 1000),
    onMask: (durationMs) => mask.observe(durationMs / 1000),
  };
}

function engineMetrics({ registry, modelName, engine }: AttentionMetricsOptions): EngineObserver {
  const registers = [registry];
  const labelNames = ["model_name", "engine"] as const;
  const labels = { model_name: modelName, engine };
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames, registers }).labels(labels);
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers }).labels(labels);
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, labelNames, registers }).labels(labels);

  const running = gauge("vllm:num_requests_running", "Requests that hold KV pages");
  const waiting = gauge("vllm:num_requests_waiting", "Requests in this worker that wait for KV pages");
  const usage = gauge("vllm:kv_cache_usage_perc", "Share of the KV pages in use, 0 to 1");
  const preemptions = counter("vllm:num_preemptions_total", "Times that a request lost its KV pages to another");
  const queried = counter("vllm:prefix_cache_queries_total", "Tokens looked up in the prefix cache");
  const hits = counter("vllm:prefix_cache_hits_total", "Tokens found in the prefix cache");
  const queueTime = histogram("vllm:request_queue_time_seconds", "From a request's arrival to its first step", REQUEST_SECONDS);
  const prefillTime = histogram("vllm:request_prefill_time_seconds", "From the first step to the first token", REQUEST_SECONDS);
  const decodeTime = histogram("vllm:request_decode_time_seconds", "From the first token to the last", REQUEST_SECONDS);
  const stepTokens = histogram("vllm:iteration_tokens_total", "Tokens computed by a step", STEP_TOKENS);
  const decoded = counter("moiety_decode_rows_total", "Rows computed to draw a next token");
  const failures = counter("moiety_pass_failures_total", "Requests in passes that failed and were repeated or given up");
  const resumed = new Counter({
    name: "moiety_requests_resumed_total",
    help: "Requests that went on from their token log, by reason: lost (their worker died or lost them), released (it gave them back)",
    labelNames: [...labelNames, "reason"],
    registers,
  });
  for (const reason of ["lost", "released"]) resumed.inc({ ...labels, reason }, 0);
  const layer = layerMetrics(registry);
  return {
    onLayer: layer,
    onResume: (reason) => resumed.inc({ ...labels, reason }),
    onPassFailed: () => failures.inc(),
    onStep: ({ tokens, decodeTokens, preempted }) => {
      stepTokens.observe(tokens);
      decoded.inc(decodeTokens);
      preemptions.inc(preempted);
    },
    onPrefixLookup: (queriedTokens, hitTokens) => {
      queried.inc(queriedTokens);
      hits.inc(hitTokens);
    },
    onFinish: ({ queueMs, prefillMs, decodeMs }) => {
      queueTime.observe(queueMs / 1000);
      prefillTime.observe(prefillMs / 1000);
      decodeTime.observe(decodeMs / 1000);
    },
    onGauges: (gauges) => {
      running.set(gauges.running);
      waiting.set(gauges.waiting);
      usage.set(gauges.kvUsage);
    },
  };
}

/** Sums per part are kept as plain numbers and read at the scrape: a step reports one hop per layer and micro-batch. */
function layerMetrics(registry: Registry): EngineObserver["onLayer"] {
  const registers = [registry];
  const totals = { gate: 0, encode: 0, network: 0, queue: 0, compute: 0, combine: 0 };
  let fanOuts = 0;
  new Counter({
    name: "moiety_hop_part_seconds_total",
    help: "Time of all hops to the experts, by part: gate, encode, network, queue of the shard, compute, combine",
    labelNames: ["part"],
    registers,
    collect() {
      this.reset();
      for (const [part, us] of Object.entries(totals)) this.inc({ part }, us / 1e6);
    },
  });
  new Counter({
    name: "moiety_hop_fan_out_total",
    help: "Workers called by all hops; over the count of moiety_hop_seconds: workers per hop",
    registers,
    collect() {
      this.reset();
      this.inc(fanOuts);
    },
  });
  const duration = new Histogram({
    name: "moiety_hop_seconds",
    help: "One layer's hop to the experts and back: encode, network, queue and compute of the slowest worker",
    buckets: HOP_SECONDS,
    registers,
  });
  return ({ gateUs, encodeUs, networkUs, queueUs, computeUs, combineUs, fanOut }) => {
    totals.gate += gateUs;
    totals.encode += encodeUs;
    totals.network += networkUs;
    totals.queue += queueUs;
    totals.compute += computeUs;
    totals.combine += combineUs;
    fanOuts += fanOut;
    duration.observe((encodeUs + networkUs + queueUs + computeUs) / 1e6);
  };
}

function expertMetrics(registry: Registry): ExpertPoolObserver {
  const registers = [registry];
  const calls = new Counter({
    name: "moiety_expert_calls_answered_total",
    help: "Calls that expert workers answered",
    labelNames: ["worker"],
    registers,
  });
  const rows = new Counter({
    name: "moiety_expert_call_rows_total",
    help: "Rows sent to expert workers",
    labelNames: ["worker"],
    registers,
  });
  const repeats = new Counter({
    name: "moiety_expert_call_retries_total",
    help: "Calls repeated, by reason",
    labelNames: ["worker", "reason"],
    registers,
  });
  const timeouts = new Counter({
    name: "moiety_expert_call_timeouts_total",
    help: "Deadlines of calls that passed",
    labelNames: ["worker"],
    registers,
  });
  const ignored = new Counter({
    name: "moiety_expert_answers_ignored_total",
    help: "Answers that nobody waited for",
    labelNames: ["worker"],
    registers,
  });
  const parked = new Counter({
    name: "moiety_expert_calls_parked_total",
    help: "Calls that waited for an expert without a live worker",
    registers,
  });
  const epoch = new Gauge({ name: "moiety_attention_epoch", help: "Placement by which calls are sent", registers });
  return {
    answered: (call) => {
      calls.inc({ worker: call.workerId });
      rows.inc({ worker: call.workerId }, call.rows);
    },
    repeated: (call) => repeats.inc({ worker: call.workerId, reason: call.reason }),
    timedOut: (call) => timeouts.inc({ worker: call.workerId }),
    ignored: (answer) => ignored.inc({ worker: answer.workerId }),
    parked: () => parked.inc(),
    linkChanged: () => {},
    placementChanged: (placement) => epoch.set(placement.epoch),
  };
}
