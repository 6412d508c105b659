import { join } from "node:path";
import { invariant } from "@moiety/core";
import type { ClusterOptions } from "./cluster-options.js";

export const SERVICES = ["gateway", "router", "attention-worker", "expert-worker"] as const;
export type Service = (typeof SERVICES)[number];

/** One process of a cluster. */
export interface ProcessPlan {
  /** Unique in the cluster: the name of its log, and the worker's id. */
  readonly name: string;
  readonly kind: "redis" | Service;
  /** Arguments: of redis-server, or of the `moiety` command. */
  readonly given: readonly string[];
  /** What is added to the environment of `moiety up`. */
  readonly environment: Readonly<Record<string, string>>;
  /** The port at which it says whether it is ready: over HTTP, or for Redis in its own protocol. */
  readonly readyPort: number;
}

export interface ClusterPlan {
  /** Present when a private Redis is started. */
  readonly redis?: ProcessPlan;
  readonly services: readonly ProcessPlan[];
  readonly redisUrl: string;
}

const LOOPBACK = "127.0.0.1";
/** How long one of several routers leads after it last said that it lives. */
const ROUTER_LEASE_MS = 1_500;
/** Of a Unix socket, in bytes: what every system takes. */
const LONGEST_SOCKET_PATH = 100;

/** Which processes stop together, first to last: those that take work first, and Redis when nobody needs it any more. */
export const STOP_ORDER: readonly ProcessPlan["kind"][] = ["gateway", "attention-worker", "expert-worker", "router", "redis"];

/** How many ports of the loopback interface a cluster needs. */
export function portsNeeded(options: ClusterOptions): number {
  const redis = options.redisUrl === undefined ? 1 : 0;
  const worker = usesSockets(options) ? 1 : 2;
  return redis + 2 * routersOf(options) + worker * (options.experts + options.attention);
}

function routersOf({ colocated, routers = 1 }: ClusterOptions): number {
  return colocated ? 0 : routers;
}

/** A folder whose name is too long for a socket leaves TCP. */
function usesSockets(options: ClusterOptions): boolean {
  return options.tcp !== true && Buffer.byteLength(socketOf(options, "attention-999")) <= LONGEST_SOCKET_PATH;
}

function socketOf({ dataDir }: ClusterOptions, name: string): string {
  return join(dataDir, "sockets", `${name}.sock`);
}

/** Every process of a cluster, with its configuration. `ports` are free ones of the loopback interface. */
export function planCluster(options: ClusterOptions, ports: readonly number[]): ClusterPlan {
  const free = ports.values();
  const nextPort = () => {
    const next = free.next();
    invariant(next.done !== true, "portsNeeded counts every port");
    return next.value;
  };
  const redis = options.redisUrl === undefined ? planRedis(options, nextPort()) : undefined;
  const redisUrl = options.redisUrl ?? `redis://${LOOPBACK}:${redis?.readyPort}`;
  const shared = sharedEnvironment(options, redisUrl);
  const service = (kind: Service, name: string, environment: Readonly<Record<string, string>>): ProcessPlan => {
    const httpPort = environment["MOIETY_HTTP_PORT"] ?? String(nextPort());
    const own = { MOIETY_HTTP_HOST: LOOPBACK, ...environment, MOIETY_HTTP_PORT: httpPort };
    return { name, kind, given: ["serve", kind], environment: { ...shared, ...own }, readyPort: Number(httpPort) };
  };
  const routerAddresses = Array.from({ length: routersOf(options) }, () => `${LOOPBACK}:${nextPort()}`);
  const worker = (kind: "attention-worker" | "expert-worker", name: string) =>
    service(kind, name, {
      MOIETY_WORKER_ID: name,
      MOIETY_LISTEN_ADDRESS: usesSockets(options) ? `unix:${socketOf(options, name)}` : `${LOOPBACK}:${nextPort()}`,
      MOIETY_THREADS: String(options.threads),
      MOIETY_COLOCATED: String(options.colocated),
      ...(routerAddresses.length === 0 ? {} : { MOIETY_ROUTER_ADDRESS: routerAddresses.join(",") }),
    });
  const services: ProcessPlan[] = [];
  for (const [index, address] of routerAddresses.entries()) {
    const name = routerAddresses.length === 1 ? "router" : `router-${index}`;
    services.push(service("router", name, { MOIETY_ROUTER_ID: name, ...routerEnvironment(options, address) }));
  }
  for (let index = 0; index < options.experts; index++) services.push(worker("expert-worker", `expert-${index}`));
  for (let index = 0; index < options.attention; index++) services.push(worker("attention-worker", `attention-${index}`));
  services.push(service("gateway", "gateway", gatewayEnvironment(options)));
  return { ...(redis === undefined ? {} : { redis }), services, redisUrl };
}

function sharedEnvironment(options: ClusterOptions, redisUrl: string): Readonly<Record<string, string>> {
  return {
    MOIETY_MODEL: options.model,
    MOIETY_MODEL_NAME: options.modelName,
    MOIETY_REDIS_URL: redisUrl,
    ...(options.activation === undefined ? {} : { MOIETY_ACTIVATION: options.activation }),
    ...(options.kernelLevel === undefined ? {} : { MOIETY_KERNEL_LEVEL: options.kernelLevel }),
  };
}

function routerEnvironment(options: ClusterOptions, address: string): Readonly<Record<string, string>> {
  return {
    MOIETY_LISTEN_ADDRESS: address,
    MOIETY_ROUTER_LEASE_MS: routersOf(options) > 1 ? String(ROUTER_LEASE_MS) : "0",
    MOIETY_MIN_EXPERT_WORKERS: String(options.experts),
    MOIETY_REPLICAS: String(options.replicas),
  };
}

function gatewayEnvironment(options: ClusterOptions): Readonly<Record<string, string>> {
  const files = join(options.dataDir, "files");
  return { MOIETY_HTTP_HOST: options.host, MOIETY_HTTP_PORT: String(options.port), MOIETY_FILES_DIR: files };
}

function planRedis(options: ClusterOptions, port: number): ProcessPlan {
  const settings = {
    port: String(port),
    bind: LOOPBACK,
    dir: join(options.dataDir, "redis-data"),
    appendonly: "yes",
    appendfsync: "everysec",
    save: "",
    "maxmemory-policy": "noeviction",
    daemonize: "no",
  };
  const given = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value]);
  return { name: "redis", kind: "redis", given, environment: {}, readyPort: port };
}
