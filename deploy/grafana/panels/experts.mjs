import { mean, quantiles, rate } from "./queries.mjs";

export const experts = {
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
        { title: "Router that leads", queries: { "{{instance}}": "moiety_router_leader" } },
        { title: "Number of the election", queries: { "{{instance}}": "moiety_router_term" } },
        { title: "Age of the leader's lease", unit: "s", queries: { "{{instance}}": "moiety_router_lease_age_seconds" } },
      ],
    },
  ],
};
