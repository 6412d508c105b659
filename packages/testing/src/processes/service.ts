import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.js";
import { ManagedProcess, type ProcessExit } from "./managed-process.js";
import { waitUntil } from "./wait-until.js";

export type ServiceName = "gateway" | "attention-worker" | "expert-worker" | "router";

const REPOSITORY = fileURLToPath(new URL("../../../../", import.meta.url));
const CLI = `${REPOSITORY}packages/cli/bin/moiety.js`;

export interface ServiceOptions {
  /** For failure messages. */
  readonly name: string;
  /** What to run: a service, through the built `moiety serve`, or a file for node. */
  readonly run: { readonly service: ServiceName } | { readonly entry: string; readonly args?: readonly string[] };
  readonly env: Readonly<Record<string, string>>;
  /** Flags for node itself. */
  readonly nodeArgs?: readonly string[];
}

/** One process of the cluster. It keeps its environment, and so its id and its ports, over every restart. */
export interface ServiceHandle {
  readonly name: string;
  /** http://127.0.0.1:port of /health, /ready and /metrics. */
  readonly httpUrl: string;
  readonly process: ManagedProcess;
  /** Waits for /ready to answer 200. */
  waitReady(timeoutMs?: number): Promise<void>;
  /** Waits for /health to answer 200. */
  waitHealthy(timeoutMs?: number): Promise<void>;
  isReady(): Promise<boolean>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGTERM, then waits for the end. */
  terminate(timeoutMs?: number): Promise<ProcessExit>;
  freeze(): void;
  thaw(): void;
  /** Kills it if it lives, and starts it again with the same identity. Does not wait until it is ready. */
  restart(): Promise<void>;
  /** The text of /metrics. */
  metrics(): Promise<string>;
}

/** Starts a process of the product. Does not wait until it is ready. */
export async function spawnService(options: ServiceOptions): Promise<ServiceHandle> {
  const httpPort = Number(options.env["MOIETY_HTTP_PORT"] ?? (await freePort()));
  const { run, nodeArgs = [] } = options;
  const child = new ManagedProcess({
    name: options.name,
    file: process.execPath,
    args: [...nodeArgs, ...("service" in run ? [CLI, "serve", run.service] : [run.entry, ...(run.args ?? [])])],
    env: { MOIETY_HTTP_HOST: "127.0.0.1", ...options.env, MOIETY_HTTP_PORT: String(httpPort) },
  });
  const httpUrl = `http://127.0.0.1:${httpPort}`;
  const hopes = (timeoutMs: number) => ({
    timeoutMs,
    describe: () => child.describe(),
    hopeless: () => child.exit !== undefined,
  });
  child.start();
  return {
    name: options.name,
    httpUrl,
    process: child,
    waitReady: async (timeoutMs = 30_000) => {
      await waitUntil(`${options.name} is ready`, () => answersOk(`${httpUrl}/ready`), hopes(timeoutMs));
    },
    waitHealthy: async (timeoutMs = 15_000) => {
      await waitUntil(`${options.name} is healthy`, () => answersOk(`${httpUrl}/health`), hopes(timeoutMs));
    },
    isReady: () => answersOk(`${httpUrl}/ready`),
    kill: () => child.kill(),
    terminate: (timeoutMs) => child.terminate(timeoutMs),
    freeze: () => child.freeze(),
    thaw: () => child.thaw(),
    restart: async () => {
      await child.kill();
      child.start();
    },
    metrics: async () => (await fetch(`${httpUrl}/metrics`)).text(),
  };
}

async function answersOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
