import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "@moiety/core";
import { ControlServiceService } from "@moiety/proto";
import { createRegistry, createServer, type Logger, listen, openTransport, startProcessServer } from "@moiety/runtime";
import type { Cluster, ClusterEvent } from "./cluster.js";
import type { RouterConfig } from "./config.js";
import { createControlService } from "./control-service.js";
import { RedisLease } from "./election/redis-lease.js";
import { Leadership } from "./leadership.js";
import { createRouterMetrics } from "./metrics.js";
import { routerMissing, routerStatus } from "./status.js";

export interface RouterOptions {
  readonly config: RouterConfig;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export interface Router {
  /** Port of the control plane; 0 for a unix socket. */
  readonly port: number;
  /** Port of /health, /ready, /metrics and /status. */
  readonly httpPort: number;
  /** Absent while this router is a standby. */
  readonly cluster: Cluster | undefined;
  close(): Promise<void>;
}

/** @throws AppError UNAVAILABLE when an address is taken. */
export async function startRouter(options: RouterOptions): Promise<Router> {
  const { config, logger, clock = systemClock } = options;
  const registry = createRegistry({ service: "router", instance: config.MOIETY_ROUTER_ID });
  const transport = await openTransport({ config, logger, registry });
  const leadership: Leadership = new Leadership({
    lease: leaseOf(config, logger),
    leaseMs: config.MOIETY_ROUTER_LEASE_MS,
    clock,
    logger,
    cluster: { limits: limitsOf(config), publishing: publishingOf(config) },
    onEvent: (event) => {
      metrics.observe(event);
      logEvent(logger, event);
    },
  });
  const metrics = createRouterMetrics({ registry, clock, leadership });
  const server = createServer();
  server.addService(ControlServiceService, createControlService({ leadership, clock, logger, ...streamLimitsOf(config) }));
  const listening = await listen(server, config.MOIETY_LISTEN_ADDRESS, transport);
  const http = await startProcessServer({
    host: config.MOIETY_HTTP_HOST,
    port: config.MOIETY_HTTP_PORT,
    registry,
    readiness: () => routerMissing(leadership, config.MOIETY_MIN_EXPERT_WORKERS),
    routes: (app) => {
      app.get("/status", async () => routerStatus(leadership, clock.monotonicMs()));
    },
  });
  leadership.election.start();
  const stopTicking = tickForEver(leadership, clock, config.MOIETY_HEARTBEAT_TIMEOUT_MS / 10);
  logger.info({ address: config.MOIETY_LISTEN_ADDRESS, port: listening.port, httpPort: http.port }, "router listening");
  const close = async () => {
    await stopTicking();
    await leadership.close();
    await Promise.all([listening.close(), http.close()]);
    transport.close();
  };
  return {
    port: listening.port,
    httpPort: http.port,
    get cluster() {
      return leadership.term?.cluster;
    },
    close,
  };
}

/** Absent for the only router. A router that is started again under its name is another holder. */
function leaseOf(config: RouterConfig, logger: Logger): RedisLease | undefined {
  const { MOIETY_ROUTER_LEASE_MS: leaseMs, MOIETY_REDIS_URL: redisUrl, MOIETY_REDIS_PREFIX: prefix } = config;
  if (leaseMs === 0 || redisUrl === undefined) return undefined;
  return new RedisLease({
    redisUrl,
    prefix,
    leaseMs,
    holder: `${config.MOIETY_ROUTER_ID}/${randomUUID()}`,
    onError: ({ message }) => logger.debug({ reason: message }, "lost a connection"),
  });
}

function tickForEver(leadership: Leadership, clock: Clock, intervalMs: number): () => Promise<void> {
  const stopping = new AbortController();
  const run = async () => {
    while (!stopping.signal.aborted) {
      leadership.term?.cluster.tick(clock.monotonicMs());
      await clock.sleep(Math.min(100, intervalMs), stopping.signal).catch(() => {});
    }
  };
  const running = run();
  return () => {
    stopping.abort();
    return running;
  };
}

function limitsOf(config: RouterConfig) {
  return {
    maxMembers: config.MOIETY_MAX_MEMBERS,
    heartbeatTimeoutMs: config.MOIETY_HEARTBEAT_TIMEOUT_MS,
    rejoinGraceMs: config.MOIETY_REJOIN_GRACE_MS,
  };
}

function publishingOf(config: RouterConfig) {
  return {
    minExpertWorkers: config.MOIETY_MIN_EXPERT_WORKERS,
    replicas: config.MOIETY_REPLICAS,
    settleMs: config.MOIETY_SETTLE_MS,
    growDelayMs: config.MOIETY_GROW_DELAY_MS,
    rejoinGraceMs: config.MOIETY_REJOIN_GRACE_MS,
  };
}

function streamLimitsOf(config: RouterConfig) {
  return {
    heartbeatIntervalMs: config.MOIETY_HEARTBEAT_INTERVAL_MS,
    heartbeatTimeoutMs: config.MOIETY_HEARTBEAT_TIMEOUT_MS,
    maxStreams: 2 * config.MOIETY_MAX_MEMBERS,
  };
}

function logEvent(logger: Logger, event: ClusterEvent): void {
  switch (event.kind) {
    case "member-changed":
      logger[event.state === "lost" ? "warn" : "info"]({ worker: event.id, state: event.state }, "member changed");
      return;
    case "published": {
      const { epoch, phase, workers } = event.table;
      logger.info({ epoch, phase, workers: workers.length, moves: event.moves }, "placement published");
      return;
    }
    case "blocked":
      logger.error({ unplaced: event.unplaced }, "experts have no room on the workers that are left");
  }
}
