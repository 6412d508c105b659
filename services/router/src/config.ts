import { env, processConfigShape, tlsConfigShape } from "@moiety/runtime";
import { z } from "zod";

/** Everything that the router can be told. */
export const routerConfigSchema = z
  .object({
    ...processConfigShape,
    ...tlsConfigShape,
    MOIETY_ROUTER_ID: env.text("router").describe("name of this process in logs"),
    MOIETY_LISTEN_ADDRESS: env
      .text("127.0.0.1:7070")
      .describe("host:port or unix:path of the control plane; port 0: any free one"),
    MOIETY_ROUTER_LEASE_MS: env
      .integer({ min: 0, max: 600_000, fallback: 0 })
      .describe(
        "with several routers: how long one leads after it last renewed its lease in Redis, at least 400; 0: this is the only router",
      ),
    MOIETY_REDIS_URL: z.string().min(1).optional().describe("Redis of the lease, the same for all routers of the cluster"),
    MOIETY_REDIS_PREFIX: env.text("moiety").describe("keeps clusters apart that share a Redis"),
    MOIETY_MIN_EXPERT_WORKERS: env
      .integer({ min: 0, max: 1_024, fallback: 1 })
      .describe(
        "expert workers to wait for before the first placement; 0: the cluster is ready without any (experts are co-located)",
      ),
    MOIETY_REPLICAS: env
      .integer({ min: 1, max: 16, fallback: 1 })
      .describe("copies of every expert, on different workers, if there is room"),
    MOIETY_SETTLE_MS: env
      .integer({ min: 0, max: 600_000, fallback: 1_500 })
      .describe("how long a router that just started waits for members to return before it changes anything"),
    MOIETY_REJOIN_GRACE_MS: env
      .integer({ min: 0, max: 3_600_000, fallback: 3_000 })
      .describe("how long the experts of a lost worker wait for its return before others take them over"),
    MOIETY_GROW_DELAY_MS: env
      .integer({ min: 0, max: 3_600_000, fallback: 1_000 })
      .describe("how long a new expert worker waits for others to come too before experts are moved to it"),
    MOIETY_HEARTBEAT_INTERVAL_MS: env.integer({ min: 50, max: 60_000, fallback: 500 }).describe("how often workers report"),
    MOIETY_HEARTBEAT_TIMEOUT_MS: env
      .integer({ min: 100, max: 600_000, fallback: 2_000 })
      .describe("silence after which a worker is lost; at least twice the interval"),
    MOIETY_MAX_MEMBERS: env.integer({ min: 1, max: 4_096, fallback: 1_024 }).describe("most workers at once, lost ones included"),
  })
  .refine((config) => config.MOIETY_HEARTBEAT_TIMEOUT_MS >= 2 * config.MOIETY_HEARTBEAT_INTERVAL_MS, {
    path: ["MOIETY_HEARTBEAT_TIMEOUT_MS"],
    message: "must be at least twice MOIETY_HEARTBEAT_INTERVAL_MS",
  })
  .refine(({ MOIETY_ROUTER_LEASE_MS: leaseMs }) => leaseMs === 0 || leaseMs >= 400, {
    path: ["MOIETY_ROUTER_LEASE_MS"],
    message: "must be 0, or at least 400",
  })
  .refine((config) => config.MOIETY_ROUTER_LEASE_MS === 0 || config.MOIETY_REDIS_URL !== undefined, {
    path: ["MOIETY_REDIS_URL"],
    message: "is required when MOIETY_ROUTER_LEASE_MS is not 0",
  });

export type RouterConfig = z.output<typeof routerConfigSchema>;
