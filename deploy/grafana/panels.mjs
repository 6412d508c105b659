/** What the dashboards show. A query is named by its legend; metrics are explained in docs/metrics.md, rules in ../prometheus/rules. */

const RATE = "[$__rate_interval]";
const rate = (metric, by) => `sum${by === undefined ? "" : ` by (${by})`} (rate(${metric}${RATE}))`;
const quantile = (share, metric) => `histogram_quantile(${share}, sum by (le) (rate(${metric}_bucket${RATE})))`;
const quantiles = (metric) => ({
  median: quantile(0.5, metric),
  "95 %": quantile(0.95, metric),
  "99 %": quantile(0.99, metric),
});
/** Mean of what a histogram has observed. */
const mean = (metric, by) => `${rate(`${metric}_sum`, by)} / ${rate(`${metric}_count`, by)}`;

const serviceLevel = {
  uid: "moiety-service",
  title: "Moiety / Service level",
  rows: [
    {
      title: "What clients see",
      panels: [
        {
          title: "Time to first token",
          unit: "s",
          description: "From the HTTP request, as the gateways see it",
          queries: quantiles("vllm:time_to_first_token_seconds"),
        },
        { title: "Between tokens", unit: "s", queries: quantiles("vllm:inter_token_latency_seconds") },
        { title: "Whole requests", unit: "s", queries: quantiles("vllm:e2e_request_latency_seconds") },
        {
          title: "Tokens per second",
          queries: { output: rate("vllm:generation_tokens_total"), prompts: rate("vllm:prompt_tokens_total") },
        },
        {
          title: "Choices by their end",
          unit: "ops",
          queries: { "{{finished_reason}}": rate("vllm:request_success_total", "finished_reason") },
        },
        { title: "Faults of the server", unit: "percentunit", queries: { "share of answers": "moiety:http_errors:share5m" } },
      ],
    },
    {
      title: "Requests",
      panels: [
        { title: "Requests in the queue", queries: { "{{state}}": "max by (state) (moiety_queue_requests)" } },
        { title: "Answers by status", unit: "ops", queries: { "{{status}}": rate("moiety_http_responses_total", "status") } },
        {
          title: "Refused and failed",
          unit: "ops",
          queries: {
            "refused: {{reason}}": rate("moiety_gateway_rejected_total", "reason"),
            "failed: {{code}}": rate("moiety_gateway_failures_total", "code"),
          },
        },
        {
          title: "Where a request's time goes",
          unit: "s",
          description: "Means, as the attention workers see them",
          stacked: true,
          queries: {
            queue: mean("vllm:request_queue_time_seconds"),
            prefill: mean("vllm:request_prefill_time_seconds"),
            decode: mean("vllm:request_decode_time_seconds"),
          },
        },
        {
          title: "Streams open, clients that do not read",
          queries: {
            "{{instance}}": "moiety_gateway_in_flight",
            "cancelled per second": rate("moiety_gateway_slow_clients_total"),
          },
        },
        {
          title: "Lines of batches",
          queries: { "in flight": "sum(moiety_batch_lines_in_flight)", "batches open": "max(moiety_batches_open)" },
        },
      ],
    },
  ],
};

const experts = {
  uid: "moiety-experts",
  title: "Moiety / Experts",
  variables: [{ name: "layer", label: "Layer", query: "label_values(moiety_router_expert_rows_total, layer)" }],
  rows: [
    {
      title: "Hops",
      panels: [
        {
          title: "One hop to the experts",
          unit: "s",
          description: "One layer's way there and back: the slowest worker of those called",
          queries: quantiles("moiety_hop_seconds"),
        },
        {
          title: "Mean time of a hop, by part",
          unit: "s",
          stacked: true,
          queries: { "{{part}}": "moiety:hop_part_seconds:mean5m" },
        },
        {
          title: "Workers called by a hop",
          description: "Fan-out",
          queries: { mean: "moiety:hop_fan_out:mean5m" },
        },
      ],
    },
    {
      title: "Heat",
      panels: [
        {
          title: "Rows per second of each expert, layer $layer",
          kind: "heatmap",
          queries: { "{{expert}}": 'sum by (expert) (moiety:expert_rows:rate5m{layer=~"$layer"})' },
        },
        {
          title: "The hottest experts",
          kind: "bargauge",
          queries: { "layer {{layer}}, expert {{expert}}": "topk(15, moiety:expert_rows:rate5m)" },
        },
        {
          title: "Skew of each layer",
          description: "Rows of its hottest expert over the mean of those that were called; 1 is even",
          queries: { "layer {{layer}}": "moiety:layer_heat_skew:ratio5m" },
        },
      ],
    },
    {
      title: "Balance",
      panels: [
        {
          title: "Imbalance",
          description: "Rows of the busiest worker of late over the mean; every step waits for it",
          queries: { "busiest over mean": "max(moiety_router_rows_imbalance)" },
        },
        { title: "Rows per second of each worker", queries: { "{{worker}}": "moiety:worker_rows:rate5m" } },
        { title: "Experts placed on each worker", queries: { "{{worker}}": "moiety_router_worker_slots" } },
        {
          title: "Calls repeated",
          unit: "ops",
          queries: {
            "{{worker}}: {{reason}}": rate("moiety_expert_call_retries_total", "worker, reason"),
            parked: rate("moiety_expert_calls_parked_total"),
          },
        },
        { title: "Calls merged into one", queries: { mean: mean("moiety_expert_batch_calls") } },
        {
          title: "Waiting and computing in a worker",
          unit: "s",
          queries: { waiting: mean("moiety_expert_queue_seconds"), computing: mean("moiety_expert_compute_seconds") },
        },
      ],
    },
    {
      title: "Membership",
      panels: [
        { title: "Members", queries: { "{{kind}} {{state}}": "sum by (kind, state) (moiety_router_members)" } },
        {
          title: "Experts that nobody can execute",
          queries: {
            "without a live worker": "sum(moiety_router_experts_without_live_worker)",
            "without room": "sum(moiety_router_experts_unplaced)",
          },
        },
        {
          title: "Active placement",
          queries: {
            router: "moiety_router_epoch",
            "{{instance}}": "moiety_attention_epoch",
            "{{instance}} ready": "moiety_expert_ready_epoch",
          },
        },
      ],
    },
  ],
};

const capacity = {
  uid: "moiety-capacity",
  title: "Moiety / Capacity",
  rows: [
    {
      title: "Attention workers",
      panels: [
        { title: "KV pages in use", unit: "percentunit", max: 1, queries: { "{{instance}}": "vllm:kv_cache_usage_perc" } },
        {
          title: "Requests running and waiting",
          queries: { "{{instance}} running": "vllm:num_requests_running", "{{instance}} waiting": "vllm:num_requests_waiting" },
        },
        { title: "Preemptions", unit: "ops", queries: { "{{instance}}": rate("vllm:num_preemptions_total", "instance") } },
        {
          title: "Found in the prefix cache",
          unit: "percentunit",
          max: 1,
          queries: { share: `${rate("vllm:prefix_cache_hits_total")} / ${rate("vllm:prefix_cache_queries_total")}` },
        },
        { title: "Tokens of a step", queries: { "{{instance}}": mean("vllm:iteration_tokens_total", "instance") } },
        { title: "Tokens drawn per second", queries: { "{{instance}}": rate("moiety_decode_rows_total", "instance") } },
      ],
    },
    {
      title: "Expert workers",
      panels: [
        { title: "Calls waiting", queries: { "{{instance}}": "moiety_expert_queued_calls" } },
        { title: "Rows waiting", unit: "bytes", queries: { "{{instance}}": "moiety_expert_queued_bytes" } },
        { title: "Weights held", unit: "bytes", queries: { "{{instance}}": "moiety_expert_resident_bytes" } },
      ],
    },
    {
      title: "Processes",
      panels: [
        { title: "Processor time", queries: { "{{instance}}": rate("process_cpu_seconds_total", "instance") } },
        { title: "Resident memory", unit: "bytes", queries: { "{{instance}}": "process_resident_memory_bytes" } },
        { title: "Lag of the event loop, 99 %", unit: "s", queries: { "{{instance}}": "nodejs_eventloop_lag_p99_seconds" } },
        {
          title: "Until certificates expire",
          unit: "s",
          kind: "bargauge",
          queries: { "{{instance}}": "min by (instance) (moiety_tls_certificate_expiry_seconds) - time()" },
        },
      ],
    },
  ],
};

export const DASHBOARDS = [serviceLevel, experts, capacity];
