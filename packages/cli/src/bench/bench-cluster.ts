import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Cluster } from "../cluster/cluster.js";
import type { ClusterOptions } from "../cluster/cluster-options.js";
import { freePorts } from "../cluster/ports.js";
import { findRedisServer } from "../cluster/redis-server.js";
import { endLeftovers, readRun } from "../cluster/run-file.js";
import { type ClusterPlan, type ProcessPlan, planCluster, portsNeeded } from "../cluster/run-plan.js";

export interface BenchClusterOptions {
  readonly cluster: Omit<ClusterOptions, "dataDir" | "port">;
  /** Which of the cluster's processes to start. */
  readonly kinds: readonly ProcessPlan["kind"][];
  /** Of all benchmarks. */
  readonly dataDir: string;
  readonly tell: (line: string) => void;
}

export interface BenchCluster {
  readonly plan: ClusterPlan;
  /** Resolves when every process is ready. */
  start(): Promise<void>;
  /** Of the running processes of a kind. */
  pids(kind: ProcessPlan["kind"]): readonly number[];
  stop(): Promise<void>;
}

type Place = Pick<BenchClusterOptions, "dataDir" | "tell">;

/** No process computes. */
const WITHOUT_WORKERS = { host: "127.0.0.1", experts: 0, attention: 0, colocated: true, replicas: 1, threads: 1 };

/** A Redis alone, as `moiety up` would start it. */
export function planRedisAlone(place: Place): Promise<BenchCluster> {
  return planBenchCluster({ ...place, cluster: { ...WITHOUT_WORKERS, model: ".", modelName: "bench" }, kinds: ["redis"] });
}

/** A Redis and a gateway, which is ready once something takes an attention worker's place. */
export async function planGatewayAlone({
  model,
  modelName,
  ...place
}: Place & Pick<ClusterOptions, "model" | "modelName">): Promise<BenchCluster & { readonly url: string }> {
  const cluster = { ...WITHOUT_WORKERS, attention: 1, model, modelName };
  const planned = await planBenchCluster({ ...place, cluster, kinds: ["redis", "gateway"] });
  return { ...planned, url: `http://127.0.0.1:${planned.plan.services[0]?.readyPort ?? 0}` };
}

/** Some processes of a cluster as `moiety up` would start them, in a folder of their own. They end with this process. */
export async function planBenchCluster({ cluster, kinds, dataDir, tell }: BenchClusterOptions): Promise<BenchCluster> {
  const folder = join(dataDir, "bench", "run");
  await endLeftovers(folder);
  // Requests of an interrupted run would be served again.
  await rm(join(folder, "redis-data"), { recursive: true, force: true });
  const options = { ...cluster, dataDir: folder };
  const [port = 0, ...ports] = await freePorts(portsNeeded({ ...options, port: 0 }) + 1);
  const whole = planCluster({ ...options, port }, ports);
  const { redis, ...rest } = whole;
  const plan: ClusterPlan = {
    ...rest,
    services: whole.services.filter(({ kind }) => kinds.includes(kind)),
    ...(redis !== undefined && kinds.includes("redis") ? { redis } : {}),
  };
  const running = new Cluster({
    plan,
    url: `http://127.0.0.1:${port}`,
    // With this process's own options, such as --cpu-prof.
    moiety: [process.execPath, ...process.execArgv, fileURLToPath(new URL("../../bin/moiety.js", import.meta.url))],
    ...(plan.redis === undefined ? {} : { redisServer: findRedisServer(process.env) }),
    dataDir: folder,
    environment: { ...withoutSettings(process.env), MOIETY_LOG_LEVEL: "warn" },
    drainTimeoutMs: 1_000,
    // What is ready is of no interest here; what dies is.
    tell: (line) => (line.startsWith("  ") ? undefined : tell(line)),
  });
  const end = () => running.kill();
  const interrupted = () => process.exit(130);
  return {
    plan,
    start: async () => {
      process.once("exit", end);
      process.once("SIGINT", interrupted);
      process.once("SIGTERM", interrupted);
      await running.start();
    },
    pids: (kind) => (readRun(folder)?.processes ?? []).filter((each) => each.kind === kind).map(({ pid }) => pid),
    stop: async () => {
      await running.stop();
      process.off("exit", end);
      process.off("SIGINT", interrupted);
      process.off("SIGTERM", interrupted);
    },
  };
}

/** What the user has set for services would change what is measured. */
function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("MOIETY_")));
}
