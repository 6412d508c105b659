import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ClusterHandle,
  freePort,
  issueCertificate,
  makeCertificates,
  type ServiceHandle,
  spawnService,
  startCluster,
} from "@moiety/testing";
import { REPOSITORY } from "./repository.js";

const model = `${REPOSITORY}packages/cli/models/moiety-tiny`;
/** Of the model, which has 6 layers of 16 experts. */
const EXPERTS = 96;
/** The first could hold nearly all, two of them can hold everything; those that come later are very small. */
const SLOTS = [84, 48, 48];
const SMALL_SLOTS = (EXPERTS - 84) / 2;

type Variables = Readonly<Record<string, string>>;

/** A cluster with certificates, two routers and very few KV pages, whose expert workers can be replaced by much smaller ones. */
export class ObservedCluster {
  readonly cluster: ClusterHandle;
  readonly routers: readonly ServiceHandle[];
  readonly workers: readonly ServiceHandle[];
  /** host:port of the metrics of every process, those included that are still to come. */
  readonly targets: readonly string[];
  readonly #folder: string;
  readonly #replacements: readonly Variables[];
  readonly #started: ServiceHandle[] = [];

  private constructor(parts: {
    readonly cluster: ClusterHandle;
    readonly standby: ServiceHandle;
    readonly workers: readonly ServiceHandle[];
    readonly folder: string;
    readonly replacements: readonly Variables[];
  }) {
    this.cluster = parts.cluster;
    this.routers = [...parts.cluster.routers, parts.standby];
    this.workers = parts.workers;
    this.#folder = parts.folder;
    this.#replacements = parts.replacements;
    const running = [...parts.cluster.services, parts.standby, ...parts.workers].map(({ httpUrl }) =>
      httpUrl.replace("http://", ""),
    );
    this.targets = [...running, ...parts.replacements.map((env) => `127.0.0.1:${env["MOIETY_HTTP_PORT"]}`)];
  }

  static async start(): Promise<ObservedCluster> {
    const folder = mkdtempSync(join(tmpdir(), "moiety-observed-"));
    const certificates = makeCertificates(join(folder, "tls"), "IP:127.0.0.1", 30);
    const addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
    const tls = {
      MOIETY_TLS_CA: join(certificates, "ca.crt"),
      MOIETY_TLS_CERT: join(certificates, "tls.crt"),
      MOIETY_TLS_KEY: join(certificates, "tls.key"),
      MOIETY_ROUTER_ADDRESS: addresses.join(","),
    };
    const router = (index: number): Variables => ({
      ...tls,
      MOIETY_ROUTER_ID: `router-${index}`,
      MOIETY_LISTEN_ADDRESS: addresses[index] ?? "",
      MOIETY_ROUTER_LEASE_MS: "1000",
      MOIETY_MIN_EXPERT_WORKERS: String(SLOTS.length),
    });
    const worker = async (id: string, slots: number): Promise<Variables> => ({
      ...tls,
      MOIETY_MODEL: model,
      MOIETY_ACTIVATION: "f32",
      MOIETY_THREADS: "1",
      MOIETY_WORKER_ID: id,
      MOIETY_LISTEN_ADDRESS: `127.0.0.1:${await freePort()}`,
      MOIETY_HTTP_PORT: String(await freePort()),
      MOIETY_CAPACITY_SLOTS: String(slots),
    });
    const cluster = await startCluster({
      model,
      expertWorkers: 0,
      readyTimeoutMs: 0,
      env: {
        router: router(0),
        "attention-worker": { ...tls, MOIETY_KV_TOKENS: "768", MOIETY_MAX_SEQUENCES: "8" },
        gateway: { MOIETY_MAX_STREAMS: "160", MOIETY_FILES_DIR: join(folder, "files") },
      },
    });
    const workers: ServiceHandle[] = [];
    const standby = await spawnService({
      name: "router-1",
      run: { service: "router" },
      env: { ...router(1), MOIETY_REDIS_URL: cluster.redis.url },
    });
    try {
      for (const [index, slots] of SLOTS.entries()) {
        const env = await worker(`expert-${index}`, slots);
        workers.push(await spawnService({ name: `expert-${index}`, run: { service: "expert-worker" }, env }));
      }
      const replacements = [await worker("small-0", SMALL_SLOTS), await worker("small-1", SMALL_SLOTS)];
      await Promise.all(workers.map((each) => each.waitReady(60_000)));
      await cluster.waitReady(60_000);
      return new ObservedCluster({ cluster, standby, workers, folder, replacements });
    } catch (error) {
      await Promise.all([cluster.close(), standby.kill(), ...workers.map((each) => each.kill())]);
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** All but the first are gone, and two small ones come in their place. */
  async replaceWorkers(): Promise<void> {
    for (const env of this.#replacements) {
      const name = env["MOIETY_WORKER_ID"] ?? "";
      this.#started.push(await spawnService({ name, run: { service: "expert-worker" }, env }));
    }
    await Promise.all(this.#started.map((each) => each.waitReady(60_000)));
    await this.cluster.waitReady(60_000);
  }

  /** The router that leads; undefined while none does. */
  async leader(): Promise<ServiceHandle | undefined> {
    for (const router of this.routers) {
      const metrics = await router.metrics().catch(() => "");
      if (/^moiety_router_leader\{.*\} 1$/m.test(metrics)) return router;
    }
    return undefined;
  }

  /** Every process gets a certificate that ends tomorrow. */
  renewCertificates(): void {
    issueCertificate(join(this.#folder, "tls"), 1);
  }

  /** Begins to write a text of so many tokens; resolves with the status, or undefined when the signal aborts. */
  async complete(tokens: number, signal: AbortSignal): Promise<number | undefined> {
    const body = { prompt: "What is 17 + 25?", max_tokens: tokens, ignore_eos: true };
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal };
    try {
      const response = await fetch(`${this.cluster.url}/v1/completions`, init);
      await response.arrayBuffer();
      return response.status;
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  describe(): string {
    return [this.cluster.describe(), ...this.#others.map(({ process }) => process.describe())].join("\n\n");
  }

  async close(): Promise<void> {
    await Promise.all(this.#others.map((each) => each.kill()));
    await this.cluster.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Those that `cluster` does not know. */
  get #others(): readonly ServiceHandle[] {
    return [...this.routers.slice(1), ...this.workers, ...this.#started];
  }
}
