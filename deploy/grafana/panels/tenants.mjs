import { RATE, rate } from "./queries.mjs";

const firstTokenOf = (share) =>
  `histogram_quantile(${share}, sum by (le, tenant) (rate(moiety_tenant_time_to_first_token_seconds_bucket${RATE})))`;

export const tenants = {
  uid: "moiety-tenants",
  title: "Moiety / Tenants",
  rows: [
    {
      title: "What tenants ask for",
      panels: [
        { title: "Requests per second", unit: "ops", queries: { "{{tenant}}": rate("moiety_tenant_responses_total", "tenant") } },
        {
          title: "Output tokens per second",
          queries: { "{{tenant}}": rate('moiety_tenant_tokens_total{kind="output"}', "tenant") },
        },
        {
          title: "Prompt tokens per second",
          queries: { "{{tenant}}": rate('moiety_tenant_tokens_total{kind="prompt"}', "tenant") },
        },
      ],
    },
    {
      title: "What tenants get",
      panels: [
        { title: "Requests waiting in the queue", queries: { "{{tenant}}": "max by (tenant) (moiety_queue_tenant_requests)" } },
        { title: "Time to first token, 95 %", unit: "s", queries: { "{{tenant}}": firstTokenOf(0.95) } },
        {
          title: "Answers other than 200",
          unit: "ops",
          description: "429: at its limits, or no room; 499: the client went away",
          queries: { "{{tenant}}: {{status}}": rate('moiety_tenant_responses_total{status!="200"}', "tenant, status") },
        },
      ],
    },
    {
      title: "The audit log",
      panels: [
        {
          title: "Entries of the audit log",
          unit: "ops",
          description: "Cut off for want of room: export it, or keep more",
          queries: {
            written: rate("moiety_audit_entries_total"),
            "cut off: {{reason}}": rate("moiety_audit_trimmed_total", "reason"),
            "lost: {{reason}}": rate("moiety_audit_lost_total", "reason"),
          },
        },
      ],
    },
  ],
};
