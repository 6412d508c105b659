import { mean, rate } from "./queries.mjs";

export const capacity = {
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
          title: "Requests that went on from their token log",
          unit: "ops",
          description: "After their worker died or lost them, or gave them back",
          queries: { "{{instance}}, {{reason}}": rate("moiety_requests_resumed_total", "instance, reason") },
        },
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
