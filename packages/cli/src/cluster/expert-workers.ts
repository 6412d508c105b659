import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { invariant } from "@moiety/core";
import type { ActivationChoice } from "@moiety/kernels";
import { Cluster } from "./cluster.js";
import type { ClusterOptions } from "./cluster-options.js";
import { freePorts } from "./ports.js";
import { planCluster, portsNeeded } from "./run-plan.js";

export interface ExpertWorkersOptions {
  /** Folder of the checkpoint, absolute. */
  readonly model: string;
  readonly workers: number;
  /** Compute threads of each worker. */
  readonly threads: number;
  readonly activation?: ActivationChoice;
  readonly kernelLevel?: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Tells the user one line. */
  readonly tell: (line: string) => void;
}

/**
 * Runs `use` with the address of a router that has expert workers, which are started for it as `moiety up` would, and stopped when it
 * has ended, failed, or this process is interrupted. @throws AppError when one does not start; their logs are kept then.
 */
export async function withExpertWorkers<T>(
  options: ExpertWorkersOptions,
  use: (routerAddress: string) => Promise<T>,
): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), "moiety-experts-"));
  const { cluster, routerAddress } = await planExpertWorkers(options, dataDir);
  let keepLogs = true;
  let interruption: Promise<void> | undefined;
  const end = () => {
    cluster.kill();
    if (!keepLogs) rmSync(dataDir, { recursive: true, force: true });
  };
  const interrupted = (signal: NodeJS.Signals) => {
    keepLogs = false;
    // A second signal finds nobody who listens, and ends this process: its children follow.
    interruption = cluster.stop().finally(() => process.exit(128 + constants.signals[signal]));
  };
  process.once("exit", end);
  for (const signal of INTERRUPTS) process.once(signal, interrupted);
  try {
    await cluster.start();
    keepLogs = false;
    return await use(routerAddress);
  } catch (error) {
    // What an interruption breaks is no fault.
    await interruption;
    throw error;
  } finally {
    await cluster.stop();
    end();
    process.off("exit", end);
    for (const signal of INTERRUPTS) process.off(signal, interrupted);
  }
}

const INTERRUPTS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

async function planExpertWorkers(options: ExpertWorkersOptions, dataDir: string) {
  const { environment, tell, workers, ...shared } = options;
  const whole: ClusterOptions = {
    ...shared,
    dataDir,
    experts: workers,
    modelName: "evaluated",
    host: "127.0.0.1",
    port: 0,
    attention: 0,
    colocated: false,
    replicas: 1,
  };
  const { services, redisUrl } = planCluster(whole, await freePorts(portsNeeded(whole)));
  const router = services.find(({ kind }) => kind === "router")?.environment["MOIETY_LISTEN_ADDRESS"];
  invariant(router !== undefined, "a cluster with expert workers has a router");
  const cluster = new Cluster({
    plan: { services: services.filter(({ kind }) => kind === "router" || kind === "expert-worker"), redisUrl },
    url: "",
    moiety: [process.execPath, fileURLToPath(new URL("../../bin/moiety.js", import.meta.url))],
    dataDir,
    environment,
    drainTimeoutMs: 1_000,
    // What is ready is of no interest here; what dies is.
    tell: (line) => (line.startsWith("  ") ? undefined : tell(line)),
  });
  return { cluster, routerAddress: router };
}
