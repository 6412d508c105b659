import { expertWorkerConfigSchema, startExpertWorker } from "@moiety/expert-worker";
import { routerConfigSchema, startRouter } from "@moiety/router";
import { createLogger, parseConfig } from "@moiety/runtime";

export interface ExpertServersOptions {
  /** Folder of the checkpoint. */
  readonly model: string;
  readonly workers: number;
  readonly activation: "f32" | "bf16" | "int8";
  readonly kernelLevel: string;
}

export interface ExpertServers {
  /** host:port. */
  readonly routerAddress: string;
  close(): Promise<void>;
}

/** A router and expert workers, as their processes would start them and on ports of their own, but within this process. */
export async function startExpertServers({
  model,
  workers,
  activation,
  kernelLevel,
}: ExpertServersOptions): Promise<ExpertServers> {
  const logger = createLogger({ service: "experts", instance: "test", level: "silent" });
  const common = { MOIETY_HTTP_PORT: "0", MOIETY_LISTEN_ADDRESS: "127.0.0.1:0" };
  const servers: { close(): Promise<void> }[] = [];
  const close = async () => {
    for (const server of servers.splice(0).reverse()) await server.close();
  };
  try {
    const given = { ...common, MOIETY_MIN_EXPERT_WORKERS: String(workers), MOIETY_SETTLE_MS: "100" };
    const router = await startRouter({ config: parseConfig(routerConfigSchema, given), logger });
    servers.push(router);
    const routerAddress = `127.0.0.1:${router.port}`;
    for (let index = 0; index < workers; index += 1) {
      const environment = {
        ...common,
        MOIETY_WORKER_ID: `expert-${index}`,
        MOIETY_MODEL: model,
        MOIETY_ROUTER_ADDRESS: routerAddress,
        MOIETY_ACTIVATION: activation,
        MOIETY_KERNEL_LEVEL: kernelLevel,
        MOIETY_THREADS: "1",
        MOIETY_HAND_OVER_MS: "0",
      };
      servers.push(await startExpertWorker({ config: parseConfig(expertWorkerConfigSchema, environment), logger }));
    }
    return { routerAddress, close };
  } catch (error) {
    await close();
    throw error;
  }
}
