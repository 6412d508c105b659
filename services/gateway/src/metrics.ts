import type { AppError, Clock } from "@moiety/core";
import type { RequestProducer } from "@moiety/queue";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { ChoiceEnd } from "./generation/choice.js";
import type { GrammarObserver } from "./grammar/check-grammar.js";
import { type AuditMetrics, createAuditMetrics } from "./tenants/audit-tally.js";
import { gaugeTenantQueues, type TenantGeneration, TenantMetrics } from "./tenants/tenant-metrics.js";

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1_280];
const TOKEN_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 5, 20, 80];
const CHECK_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5];
const TOKENS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000];

export interface GatewayMetricsOptions {
  readonly registry: Registry;
  readonly producer: RequestProducer;
  readonly clock: Clock;
  readonly modelName: string;
}

/** Observes one HTTP request's choices. */
export interface GenerationTimer {
  /** Every choice is in the queue. */
  admitted(): void;
  tokens(index: number, count: number): void;
  end(index: number, end: ChoiceEnd): void;
  fail(error: AppError): void;
  /** Nobody reads on, whatever became of it. */
  over(): void;
}

export interface GatewayMetrics {
  startGeneration(generation: TenantGeneration): GenerationTimer;
  readonly tenants: Pick<TenantMetrics, "responded">;
  response(labels: { readonly route: string; readonly status: number }): void;
  rejected(reason: "queue-full" | "too-many-streams" | "draining" | "tenant-limit"): void;
  slowClient(): void;
  inFlight(change: 1 | -1): void;
  batchLineRuns(change: 1 | -1): void;
  batchLineEnded(outcome: "completed" | "failed"): void;
  batchEnded(status: string): void;
  /** Of the whole cluster. */
  openBatches(count: number): void;
  batchTakenOver(): void;
  batchFailedToRun(): void;
  readonly grammar: GrammarObserver;
  readonly audit: AuditMetrics;
}

/** Every metric of the gateway. `vllm:*` names are those that existing dashboards know. */
export function createGatewayMetrics(options: GatewayMetricsOptions): GatewayMetrics {
  const registers = [options.registry];
  const labelNames = ["model_name", "engine"] as const;
  const labels = { model_name: options.modelName, engine: "gateway" };
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, labelNames, buckets, registers });
  const ttft = histogram("vllm:time_to_first_token_seconds", "From the HTTP request to its first token", SECONDS);
  const itl = histogram(
    "vllm:inter_token_latency_seconds",
    "Between tokens of one choice, as the gateway receives them",
    TOKEN_SECONDS,
  );
  const e2e = histogram("vllm:e2e_request_latency_seconds", "From the HTTP request to the end of a choice", SECONDS);
  const perToken = histogram(
    "vllm:request_time_per_output_token_seconds",
    "Mean time of a choice's tokens after the first",
    TOKEN_SECONDS,
  );
  const promptHistogram = histogram("vllm:request_prompt_tokens", "Prompt tokens of a choice", TOKENS);
  const outputHistogram = histogram("vllm:request_generation_tokens", "Output tokens of a choice", TOKENS);
  const promptTotal = new Counter({ name: "vllm:prompt_tokens_total", help: "Prompt tokens", labelNames, registers });
  const outputTotal = new Counter({ name: "vllm:generation_tokens_total", help: "Output tokens", labelNames, registers });
  const successNames = [...labelNames, "finished_reason"] as const;
  const success = new Counter({
    name: "vllm:request_success_total",
    help: "Choices by their end",
    labelNames: successNames,
    registers,
  });
  const failures = new Counter({
    name: "moiety_gateway_failures_total",
    help: "Generations that failed, by code",
    labelNames: ["code"],
    registers,
  });
  const repairs = new Counter({
    name: "moiety_harmony_repairs_total",
    help: "Faults in the model's output that were mended",
    labelNames: ["kind"],
    registers,
  });
  const responses = new Counter({
    name: "moiety_http_responses_total",
    help: "Answers, by route and status",
    labelNames: ["route", "status"],
    registers,
  });
  const rejections = new Counter({
    name: "moiety_gateway_rejected_total",
    help: "Requests refused for want of room",
    labelNames: ["reason"],
    registers,
  });
  const slow = new Counter({
    name: "moiety_gateway_slow_clients_total",
    help: "Streams cancelled because nobody read them",
    registers,
  });
  const inFlight = new Gauge({ name: "moiety_gateway_in_flight", help: "HTTP requests being served", registers });
  new Gauge({
    name: "moiety_queue_requests",
    help: "Requests in the queue of the whole cluster, by state",
    labelNames: ["state"],
    registers,
    async collect() {
      const depth = (await options.producer.ping()) ? await options.producer.depth().catch(() => undefined) : undefined;
      if (!depth) return this.reset();
      this.set({ state: "waiting" }, depth.waiting);
      this.set({ state: "active" }, depth.active);
    },
  });
  const waiting = countWaitingTokens(options.registry);
  gaugeTenantQueues(options.registry, options.producer);
  const batches = createBatchMetrics(options.registry);
  const tenants = new TenantMetrics(options);

  const timerOf = ({ promptTokens, timed }: TenantGeneration): GenerationTimer => {
    const startMs = options.clock.monotonicMs();
    const choices = promptTokens.map(() => ({ tokens: 0, firstMs: 0, lastMs: 0 }));
    const queued = promptTokens.map((tokens) => ({ tokens }));
    return {
      admitted() {
        for (const each of queued) waiting.add(each);
        for (const count of promptTokens) {
          promptHistogram.observe(labels, count);
          promptTotal.inc(labels, count);
        }
      },
      tokens(index, count) {
        const choice = choices[index];
        if (!choice || count === 0) return;
        const nowMs = options.clock.monotonicMs();
        if (choice.tokens === 0) {
          waiting.delete(queued[index]);
          if (timed) ttft.observe(labels, (nowMs - startMs) / 1_000);
          choice.firstMs = nowMs;
        } else if (timed)
          for (let token = 0; token < count; token++) itl.observe(labels, (nowMs - choice.lastMs) / 1_000 / count);
        choice.tokens += count;
        choice.lastMs = nowMs;
        outputTotal.inc(labels, count);
      },
      end(index, end) {
        const choice = choices[index];
        if (!choice) return;
        if (timed) e2e.observe(labels, (options.clock.monotonicMs() - startMs) / 1_000);
        outputHistogram.observe(labels, choice.tokens);
        if (timed && choice.tokens > 1) perToken.observe(labels, (choice.lastMs - choice.firstMs) / 1_000 / (choice.tokens - 1));
        success.inc({ ...labels, finished_reason: end.finishReason });
        for (const [kind, count] of Object.entries(end.repairs)) repairs.inc({ kind }, count);
      },
      fail(error) {
        failures.inc({ code: error.code });
        if (error.code === "CANCELLED") success.inc({ ...labels, finished_reason: "abort" });
      },
      over() {
        for (const each of queued) waiting.delete(each);
      },
    };
  };
  return {
    startGeneration: (generation) => tenants.follow(timerOf(generation), generation),
    tenants,
    response: ({ route, status }) => responses.inc({ route, status: String(status) }),
    rejected: (reason) => rejections.inc({ reason }),
    slowClient: () => slow.inc(),
    inFlight: (change) => inFlight.inc(change),
    ...batches,
    grammar: grammarMetrics(options.registry),
    audit: createAuditMetrics(options.registry),
  };
}

/** Prompts that wait, one for each choice: summed up at the scrape, so that the sum cannot drift. */
function countWaitingTokens(registry: Registry): Set<{ readonly tokens: number } | undefined> {
  const waiting = new Set<{ readonly tokens: number } | undefined>();
  new Gauge({
    name: "moiety_gateway_waiting_tokens",
    help: "Prompt tokens of choices that this gateway submitted and that have no first token yet",
    registers: [registry],
    collect() {
      let sum = 0;
      for (const each of waiting) sum += each?.tokens ?? 0;
      this.set(sum);
    },
  });
  return waiting;
}

type BatchMetrics = Pick<GatewayMetrics, "openBatches"> & Pick<GatewayMetrics, Extract<keyof GatewayMetrics, `batch${string}`>>;

function createBatchMetrics(registry: Registry): BatchMetrics {
  const registers = [registry];
  const open = new Gauge({
    name: "moiety_batches_open",
    help: "Batches of the whole cluster that have not ended, as a gateway last saw them",
    registers,
  });
  const ended = new Counter({
    name: "moiety_batches_total",
    help: "Batches that this gateway brought to their end, by status",
    labelNames: ["status"],
    registers,
  });
  const running = new Gauge({ name: "moiety_batch_lines_in_flight", help: "Lines of batches that this gateway runs", registers });
  const lines = new Counter({
    name: "moiety_batch_lines_total",
    help: "Lines of batches that got a result, by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const takeovers = new Counter({
    name: "moiety_batch_takeovers_total",
    help: "Batches taken over from a gateway that died or lost them",
    registers,
  });
  const faults = new Counter({
    name: "moiety_batch_faults_total",
    help: "Times that work on a batch failed and was begun again",
    registers,
  });
  return {
    openBatches: (count) => open.set(count),
    batchEnded: (status) => ended.inc({ status }),
    batchLineRuns: (change) => running.inc(change),
    batchLineEnded: (outcome) => lines.inc({ outcome }),
    batchTakenOver: () => takeovers.inc(),
    batchFailedToRun: () => faults.inc(),
  };
}

function grammarMetrics(registry: Registry): GrammarObserver {
  const registers = [registry];
  const check = new Histogram({
    name: "moiety_grammar_check_seconds",
    help: "Until a request's grammar was compiled or refused, waiting included",
    buckets: CHECK_SECONDS,
    registers,
  });
  const refused = new Counter({
    name: "moiety_grammar_refused_total",
    help: "Requests whose grammar could not be obeyed",
    registers,
  });
  return {
    onCheck: (durationMs) => check.observe(durationMs / 1_000),
    onRefusal: () => refused.inc(),
  };
}
