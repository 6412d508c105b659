import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, ManagedProcess, makeCertificates, waitUntil } from "@moiety/testing";
import { stringify } from "yaml";
import { KubeClient } from "./kube-client.js";
import type { Programs } from "./programs.mjs";

const TOKEN = "token-of-the-tests";
const PATIENCE_MS = 180_000;
/** Those that the chart's objects need. */
const CONTROLLERS = [
  "deployment",
  "disruption",
  "endpointslice",
  "garbage-collector",
  "horizontal-pod-autoscaler",
  "job",
  "persistentvolume-binder",
  "persistentvolume-protection",
  "persistentvolumeclaim-protection",
  "replicaset",
  "serviceaccount",
  "statefulset",
];

/** A real control plane of Kubernetes on this machine: etcd and kube-apiserver; if asked for, also controllers and a scheduler. It has no nodes. */
export class ControlPlane {
  readonly client: KubeClient;
  /** File of that kind, for other programs. */
  readonly kubeconfig: string;
  readonly #folder: string;
  readonly #port: number;
  readonly #programs: Programs;
  readonly #processes: ManagedProcess[] = [];

  private constructor(folder: string, port: number, programs: Programs) {
    const ca = join(makeCertificates(join(folder, "tls")), "ca.crt");
    this.#folder = folder;
    this.#port = port;
    this.#programs = programs;
    this.client = new KubeClient({ port, token: TOKEN, ca: readFileSync(ca, "utf8") });
    this.kubeconfig = join(folder, "kubeconfig");
    const name = "test";
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name, cluster: { server: `https://127.0.0.1:${port}`, "certificate-authority": ca } }],
      users: [{ name, user: { token: TOKEN } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
      "current-context": name,
    };
    writeFileSync(this.kubeconfig, stringify(config), { mode: 0o600 });
  }

  static async start(programs: Programs, { controllers = false } = {}): Promise<ControlPlane> {
    const folder = mkdtempSync(join(tmpdir(), "moiety-control-plane-"));
    const plane = new ControlPlane(folder, await freePort(), programs);
    try {
      await plane.#startServer();
      if (controllers) plane.#startControllers();
    } catch (error) {
      await plane.close();
      throw error;
    }
    return plane;
  }

  /** The last output of each process. */
  describe(): string {
    return this.#processes.map((process) => process.describe()).join("\n");
  }

  async close(): Promise<void> {
    this.client.close();
    for (const process of this.#processes.reverse()) await process.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #startServer(): Promise<void> {
    const file = (name: string) => join(this.#folder, name);
    const [clients, peers] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    this.#start("etcd", {
      "data-dir": file("etcd"),
      "listen-client-urls": clients,
      "advertise-client-urls": clients,
      "listen-peer-urls": peers,
      "initial-advertise-peer-urls": peers,
      "initial-cluster": `default=${peers}`,
      "unsafe-no-fsync": "true",
      "log-level": "warn",
    });
    writeFileSync(file("tokens"), `${TOKEN},admin,admin,system:masters\n`);
    this.#start("kube-apiserver", {
      "etcd-servers": clients,
      "bind-address": "127.0.0.1",
      "secure-port": String(this.#port),
      "tls-cert-file": file("tls/tls.crt"),
      "tls-private-key-file": file("tls/tls.key"),
      "cert-dir": this.#folder,
      "token-auth-file": file("tokens"),
      "authorization-mode": "RBAC",
      "service-cluster-ip-range": "10.96.0.0/16",
      "service-account-issuer": "https://kubernetes.default.svc",
      "service-account-key-file": file("tls/tls.crt"),
      "service-account-signing-key-file": file("tls/tls.key"),
      // Nobody finds the server by its service.
      "endpoint-reconciler-type": "none",
      // A node would have to be ready before pods are placed on it, and no controller is told that it is.
      "disable-admission-plugins": "TaintNodesByCondition",
    });
    await waitUntil("the API server is ready", () => this.client.isReady(), {
      timeoutMs: PATIENCE_MS,
      intervalMs: 200,
      describe: () => this.describe(),
      hopeless: () => this.#processes.some(({ isAlive }) => !isAlive),
    });
  }

  #startControllers(): void {
    // Without a port: they are asked nothing.
    const common = { kubeconfig: this.kubeconfig, "leader-elect": "false", "secure-port": "0" };
    this.#start("kube-controller-manager", {
      ...common,
      controllers: CONTROLLERS.map((name) => `${name}-controller`).join(","),
      "service-account-private-key-file": join(this.#folder, "tls/tls.key"),
    });
    this.#start("kube-scheduler", common);
  }

  #start(name: keyof Programs, options: Readonly<Record<string, string>>): void {
    const args = Object.entries(options).map(([key, value]) => `--${key}=${value}`);
    const process = new ManagedProcess({ name, file: this.#programs[name], args, env: {} });
    this.#processes.push(process);
    process.start();
  }
}
