import { freePort } from "../processes/free-port.js";
import { type RedisHandle, startRedis } from "../processes/redis.js";
import { type ServiceHandle, type ServiceName, spawnService } from "../processes/service.js";
import {
  attentionWorkerEnvironment,
  type ClusterSettings,
  expertWorkerEnvironment,
  gatewayEnvironment,
  routerEnvironment,
} from "./cluster-environment.js";

export interface ClusterOptions {
  /** Folder of the checkpoint. */
  readonly model: string;
  /** 2, or 0 when co-located. */
  readonly expertWorkers?: number;
  readonly attentionWorkers?: number;
  readonly gateways?: number;
  /** 1; of several one leads. */
  readonly routers?: number;
  /** Experts inside the attention workers: neither router nor expert workers run. */
  readonly colocated?: boolean;
  readonly replicas?: number;
  readonly activation?: "f32" | "bf16" | "int8";
  /** Absent: the best that this CPU has. */
  readonly kernelLevel?: string;
  /** Compute threads of every worker. */
  readonly threads?: number;
  readonly logLevel?: string;
  /** Further environment variables, by service. */
  readonly env?: Partial<Readonly<Record<ServiceName, Readonly<Record<string, string>>>>>;
  /** How long all processes together may take to be ready; 0: do not wait. */
  readonly readyTimeoutMs?: number;
}

export interface ClusterHandle {
  /** http://127.0.0.1:port of the first gateway; throws when there is none. */
  readonly url: string;
  readonly redis: RedisHandle;
  /** The first; absent when co-located. */
  readonly router: ServiceHandle | undefined;
  readonly routers: readonly ServiceHandle[];
  readonly expertWorkers: readonly ServiceHandle[];
  readonly attentionWorkers: readonly ServiceHandle[];
  readonly gateways: readonly ServiceHandle[];
  readonly services: readonly ServiceHandle[];
  /** Waits until every process answers /ready with 200. */
  waitReady(timeoutMs?: number): Promise<void>;
  /** The last output of every process, for the message of a failed test. */
  describe(): string;
  /** Kills everything. Never throws. */
  close(): Promise<void>;
}

/**
 * Starts a whole cluster of real processes. Everything started is ended if this fails, by `close`, and when the test runner is gone.
 * The services and the `moiety` command must be built.
 */
export async function startCluster(options: ClusterOptions): Promise<ClusterHandle> {
  const redis = await startRedis();
  const services: ServiceHandle[] = [];
  const close = async () => {
    await Promise.allSettled(services.map((service) => service.kill()));
    await redis.close();
  };
  try {
    const members = await spawnMembers(options, redis, services);
    const cluster = createHandle(members, { redis, services, close });
    if (options.readyTimeoutMs !== 0) await cluster.waitReady(options.readyTimeoutMs);
    return cluster;
  } catch (error) {
    await close();
    throw error;
  }
}

interface Members {
  readonly routers: readonly ServiceHandle[];
  readonly expertWorkers: readonly ServiceHandle[];
  readonly attentionWorkers: readonly ServiceHandle[];
  readonly gateways: readonly ServiceHandle[];
}

async function spawnMembers(options: ClusterOptions, redis: RedisHandle, services: ServiceHandle[]): Promise<Members> {
  const settings = await settingsOf(options, redis);
  const spawn = async (service: ServiceName, index: number, env: Readonly<Record<string, string>>) => {
    const handle = await spawnService({
      name: `${service}-${index}`,
      run: { service },
      env: { ...env, ...options.env?.[service] },
    });
    services.push(handle);
    return handle;
  };
  const seat = async (service: ServiceName, index: number) => ({ id: `${service}-${index}`, port: await freePort() });
  const { colocated } = settings;
  return {
    routers: await repeat(colocated ? 0 : settings.routerAddresses.length, (index) =>
      spawn("router", index, routerEnvironment(settings, index)),
    ),
    expertWorkers: await repeat(settings.expertWorkers, async (index) =>
      spawn("expert-worker", index, expertWorkerEnvironment(settings, await seat("expert-worker", index))),
    ),
    attentionWorkers: await repeat(options.attentionWorkers ?? 1, async (index) =>
      spawn("attention-worker", index, attentionWorkerEnvironment(settings, await seat("attention-worker", index))),
    ),
    gateways: await repeat(options.gateways ?? 1, (index) => spawn("gateway", index, gatewayEnvironment(settings))),
  };
}

async function settingsOf(options: ClusterOptions, redis: RedisHandle): Promise<ClusterSettings> {
  const { model, colocated = false, replicas = 1, activation = "f32", kernelLevel, threads = 1, logLevel = "info" } = options;
  const routerAddresses = await repeat(options.routers ?? 1, async () => `127.0.0.1:${await freePort()}`);
  const expertWorkers = colocated ? 0 : (options.expertWorkers ?? 2);
  return {
    model,
    colocated,
    replicas,
    activation,
    kernelLevel,
    threads,
    logLevel,
    routerAddresses,
    expertWorkers,
    redisUrl: redis.url,
  };
}

async function repeat<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let index = 0; index < count; index += 1) made.push(await make(index));
  return made;
}

function createHandle(
  members: Members,
  base: { readonly redis: RedisHandle; readonly services: readonly ServiceHandle[]; readonly close: () => Promise<void> },
): ClusterHandle {
  const { redis, services, close } = base;
  return {
    ...members,
    router: members.routers[0],
    redis,
    services,
    close,
    get url() {
      const [gateway] = members.gateways;
      if (gateway === undefined) throw new Error("the cluster has no gateway");
      return gateway.httpUrl;
    },
    waitReady: async (timeoutMs = 60_000) => {
      await Promise.all(services.map((service) => service.waitReady(timeoutMs)));
    },
    describe: () => [redis.process, ...services.map(({ process }) => process)].map((process) => process.describe()).join("\n\n"),
  };
}
