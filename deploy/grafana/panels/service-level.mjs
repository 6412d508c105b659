import { mean, quantiles, rate } from "./queries.mjs";

export const serviceLevel = {
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
