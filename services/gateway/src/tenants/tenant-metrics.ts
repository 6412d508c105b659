import type { Clock, TenantId } from "@moiety/core";
import type { RequestProducer } from "@moiety/queue";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { GenerationTimer } from "../metrics.js";

/** Tenants with series of their own, in the order in which this gateway saw them; those that come later share one. */
const MAX_TENANTS = 50;
/** Tenants whose queues have series of their own: those with the most requests at the scrape. */
const MAX_QUEUES = 20;
/** No tenant is called so. */
const OTHERS = "(others)";
const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 320];

export interface TenantGeneration {
  readonly tenant: TenantId;
  readonly promptTokens: readonly number[];
  /** Whether its times tell how the service does. */
  readonly timed: boolean;
}

/** What each tenant asks for and gets. */
export class TenantMetrics {
  readonly #clock: Clock;
  readonly #seen = new Set<TenantId>();
  readonly #responses: Counter<"tenant" | "status">;
  readonly #tokens: Counter<"tenant" | "kind">;
  readonly #firstToken: Histogram<"tenant">;

  constructor({ registry, clock }: { readonly registry: Registry; readonly clock: Clock }) {
    const registers = [registry];
    this.#clock = clock;
    this.#responses = new Counter({
      name: "moiety_tenant_responses_total",
      help: "Answers to a tenant's requests, by status; of the first 50 tenants and of all others together",
      labelNames: ["tenant", "status"],
      registers,
    });
    this.#tokens = new Counter({
      name: "moiety_tenant_tokens_total",
      help: "Tokens of a tenant's requests, by kind: prompt, output",
      labelNames: ["tenant", "kind"],
      registers,
    });
    this.#firstToken = new Histogram({
      name: "moiety_tenant_time_to_first_token_seconds",
      help: "From a tenant's request to its first token",
      labelNames: ["tenant"],
      buckets: SECONDS,
      registers,
    });
  }

  responded(tenant: TenantId, status: number): void {
    this.#responses.inc({ tenant: this.#label(tenant), status: String(status) });
  }

  /** Counts what a timer is told. */
  follow(inner: GenerationTimer, { tenant: id, promptTokens, timed }: TenantGeneration): GenerationTimer {
    const tenant = this.#label(id);
    const output = this.#tokens.labels({ tenant, kind: "output" });
    const startMs = this.#clock.monotonicMs();
    const begun = new Set<number>();
    return {
      ...inner,
      admitted: () => {
        inner.admitted();
        this.#tokens.inc(
          { tenant, kind: "prompt" },
          promptTokens.reduce((sum, count) => sum + count, 0),
        );
      },
      tokens: (index, count) => {
        inner.tokens(index, count);
        output.inc(count);
        if (count === 0 || !timed || begun.has(index)) return;
        begun.add(index);
        this.#firstToken.observe({ tenant }, (this.#clock.monotonicMs() - startMs) / 1_000);
      },
    };
  }

  #label(tenant: TenantId): string {
    if (this.#seen.size < MAX_TENANTS) this.#seen.add(tenant);
    return this.#seen.has(tenant) ? tenant : OTHERS;
  }
}

/** What of each tenant waits in the queue, as Redis says at the scrape. */
export function gaugeTenantQueues(registry: Registry, producer: RequestProducer): void {
  new Gauge({
    name: "moiety_queue_tenant_requests",
    help: "Requests waiting in the queue of the whole cluster, of the 20 tenants with the most and of all others together",
    labelNames: ["tenant"],
    registers: [registry],
    async collect() {
      this.reset();
      const waiting = (await producer.ping()) ? await producer.waitingByTenant().catch(() => undefined) : undefined;
      const ranked = [...(waiting ?? [])].sort(([, a], [, b]) => b - a);
      const others = ranked.splice(MAX_QUEUES).reduce((sum, [, count]) => sum + count, 0);
      for (const [tenant, count] of ranked) this.set({ tenant }, count);
      if (others > 0) this.set({ tenant: OTHERS }, others);
    },
  });
}
