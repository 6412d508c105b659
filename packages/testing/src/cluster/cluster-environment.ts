/** What every process of a cluster is told about the cluster. All names of environment variables that the harness uses stand here. */
export interface ClusterSettings {
  /** Folder of the checkpoint. */
  readonly model: string;
  readonly redisUrl: string;
  /** host:port of every router. */
  readonly routerAddresses: readonly string[];
  readonly expertWorkers: number;
  readonly replicas: number;
  readonly colocated: boolean;
  readonly activation: "f32" | "bf16" | "int8";
  readonly kernelLevel: string | undefined;
  readonly threads: number;
  readonly logLevel: string;
}

type Variables = Readonly<Record<string, string>>;

function commonEnvironment(settings: ClusterSettings): Variables {
  return {
    MOIETY_LOG_LEVEL: settings.logLevel,
    MOIETY_MODEL: settings.model,
    MOIETY_REDIS_URL: settings.redisUrl,
    MOIETY_REDIS_PREFIX: "moiety",
    MOIETY_ROUTER_ADDRESS: settings.routerAddresses.join(","),
    MOIETY_DRAIN_TIMEOUT_MS: "10000",
  };
}

export function routerEnvironment(settings: ClusterSettings, index: number): Variables {
  return {
    ...commonEnvironment(settings),
    MOIETY_ROUTER_ID: `router-${index}`,
    MOIETY_LISTEN_ADDRESS: settings.routerAddresses[index] ?? "",
    MOIETY_ROUTER_LEASE_MS: settings.routerAddresses.length > 1 ? "1000" : "0",
    MOIETY_MIN_EXPERT_WORKERS: String(settings.colocated ? 0 : settings.expertWorkers),
    MOIETY_REPLICAS: String(settings.replicas),
    MOIETY_SETTLE_MS: "500",
  };
}

export interface WorkerSeat {
  readonly id: string;
  /** Port of its data-plane server: the same after a restart. */
  readonly port: number;
}

function computeEnvironment(settings: ClusterSettings, seat: WorkerSeat): Variables {
  return {
    ...commonEnvironment(settings),
    MOIETY_WORKER_ID: seat.id,
    MOIETY_LISTEN_ADDRESS: `127.0.0.1:${seat.port}`,
    MOIETY_ACTIVATION: settings.activation,
    MOIETY_THREADS: String(settings.threads),
    ...(settings.kernelLevel === undefined ? {} : { MOIETY_KERNEL_LEVEL: settings.kernelLevel }),
  };
}

export function expertWorkerEnvironment(settings: ClusterSettings, seat: WorkerSeat): Variables {
  return { ...computeEnvironment(settings, seat), MOIETY_HAND_OVER_MS: "1000" };
}

export function attentionWorkerEnvironment(settings: ClusterSettings, seat: WorkerSeat): Variables {
  return { ...computeEnvironment(settings, seat), MOIETY_COLOCATED: String(settings.colocated) };
}

export function gatewayEnvironment(settings: ClusterSettings): Variables {
  return commonEnvironment(settings);
}
