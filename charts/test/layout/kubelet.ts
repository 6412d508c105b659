import { setTimeout as sleep } from "node:timers/promises";
import type { Container } from "../helm.js";

export interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

export type ProbeKind = "startupProbe" | "livenessProbe" | "readinessProbe";

/** What is probed: a container that listens at an address of its own. */
export interface Probed {
  readonly name: string;
  readonly ip: string;
  readonly container: Container;
}

/** Asks once, as the kubelet does: any status from 200 to 399 is a success, and silence a failure. */
export async function probe({ ip, container }: Probed, kind: ProbeKind): Promise<boolean> {
  const { httpGet, timeoutSeconds } = container[kind] as Probe;
  const port = container.ports?.find(({ name }) => name === httpGet.port)?.containerPort;
  const url = `http://${ip}:${port}${httpGet.path}`;
  return fetch(url, { signal: AbortSignal.timeout(timeoutSeconds * 1_000), redirect: "manual" }).then(
    async ({ status, body }) => {
      await body?.cancel();
      return status >= 200 && status < 400;
    },
    () => false,
  );
}

/** Time runs so much faster for periods than the manifests say; a timeout stays what it is. */
const PERIOD_SCALE = 0.1;

/**
 * Reads a container's probes as Kubernetes does: startup first and alone, then liveness and readiness side by side, each failing
 * only after its threshold. A container that Kubernetes would kill is not killed here but recorded.
 */
export class Kubelet {
  readonly #probed: Probed;
  readonly #stopping = new AbortController();
  readonly #running: Promise<unknown>;
  #started = false;
  #ready = false;
  #wouldRestart: string | undefined;

  constructor(probed: Probed) {
    this.#probed = probed;
    this.#running = this.#watch();
  }

  get isReady(): boolean {
    return this.#ready && !this.#stopping.signal.aborted;
  }

  get hasStarted(): boolean {
    return this.#started;
  }

  /** Why Kubernetes would have restarted the container; absent when it would not. */
  get wouldRestart(): string | undefined {
    return this.#wouldRestart;
  }

  /** The pod is being terminated: it is ready no more, whatever it says, and nobody asks it. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #watch(): Promise<void> {
    await this.#repeat("startupProbe", (succeeded, failures, threshold) => {
      if (failures >= threshold) this.#wouldRestart = "startupProbe";
      this.#started ||= succeeded;
      return !this.#started;
    });
    await Promise.all([
      this.#repeat("livenessProbe", (_succeeded, failures, threshold) => {
        if (failures >= threshold) this.#wouldRestart = "livenessProbe";
        return true;
      }),
      this.#repeat("readinessProbe", (succeeded, failures, threshold) => {
        if (succeeded) this.#ready = true;
        else if (failures >= threshold) this.#ready = false;
        return true;
      }),
    ]);
  }

  /** Probes until `take` has enough. `failures` are those in a row. */
  async #repeat(kind: ProbeKind, take: (succeeded: boolean, failures: number, threshold: number) => boolean): Promise<void> {
    const { periodSeconds, failureThreshold } = this.#probed.container[kind] as Probe;
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      const succeeded = await probe(this.#probed, kind);
      if (signal.aborted) return;
      failures = succeeded ? 0 : failures + 1;
      if (!take(succeeded, failures, failureThreshold)) return;
      await sleep(periodSeconds * 1_000 * PERIOD_SCALE, undefined, { signal }).catch(() => {});
    }
  }
}
