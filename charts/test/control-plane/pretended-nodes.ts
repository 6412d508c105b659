import { setTimeout as sleep } from "node:timers/promises";
import type { KubeClient, Named } from "./kube-client.js";

export interface Shape {
  /** What pods may ask for, such as `{ cpu: "16", memory: "64Gi" }`. */
  readonly capacity: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly object[];
}

interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly restartPolicy: string;
    readonly containers: readonly { readonly name: string }[];
  };
  readonly status: { readonly phase: string };
}

const POD = { apiVersion: "v1", kind: "Pod" };
const NODE = { apiVersion: "v1", kind: "Node" };
const LOOK_MS = 100;

/**
 * Nodes on which nothing runs. What their kubelets would tell the server is told at once: that a pod which was placed runs and is ready,
 * that one which is to end by itself has ended well, and that one which is deleted is gone.
 */
export class PretendedNodes {
  readonly #client: KubeClient;
  readonly #loop: Promise<void>;
  readonly #faults: string[] = [];
  #isClosed = false;
  #addresses = 0;

  private constructor(client: KubeClient) {
    this.#client = client;
    this.#loop = this.#run();
  }

  static async start(client: KubeClient, shapes: Readonly<Record<string, Shape>>): Promise<PretendedNodes> {
    for (const [name, shape] of Object.entries(shapes)) await addNode(client, name, shape);
    return new PretendedNodes(client);
  }

  /** What went wrong lately, for the message of a test that failed. */
  describe(): string {
    return this.#faults.slice(-3).join("\n");
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      // A server that does not answer is asked again, as a kubelet does.
      await this.#look().catch((error: Error) => this.#faults.push(error.message));
      await sleep(LOOK_MS);
    }
  }

  async #look(): Promise<void> {
    const pods = await this.#client.list<Pod>(POD);
    for (const pod of pods.filter(({ spec }) => spec.nodeName !== undefined)) await this.#tend(pod);
  }

  async #tend({ metadata, spec, status }: Pod): Promise<void> {
    const path = `${await this.#client.path(POD, metadata.namespace)}/${metadata.name}`;
    const preconditions = { uid: metadata.uid };
    if (metadata.deletionTimestamp !== undefined)
      await this.#client.call("DELETE", path, { gracePeriodSeconds: 0, preconditions });
    else if (status.phase === "Pending") {
      const body = { metadata: { uid: metadata.uid }, status: this.#statusOf(spec) };
      await this.#client.call("PATCH", `${path}/status`, body, "application/merge-patch+json");
    }
  }

  #statusOf({ restartPolicy, containers }: Pod["spec"]): object {
    const now = new Date().toISOString().replace(/\.\d+/, "");
    const ends = restartPolicy === "Never";
    this.#addresses += 1;
    const podIP = `10.97.${this.#addresses >> 8}.${this.#addresses & 255}`;
    const state = ends ? { terminated: { exitCode: 0, startedAt: now, finishedAt: now } } : { running: { startedAt: now } };
    const image = { image: "", imageID: "", restartCount: 0 };
    return {
      phase: ends ? "Succeeded" : "Running",
      startTime: now,
      podIP,
      podIPs: [{ ip: podIP }],
      conditions: ["Initialized", "ContainersReady", "Ready"].map((type) => ({
        type,
        status: ends && type !== "Initialized" ? "False" : "True",
        lastTransitionTime: now,
      })),
      containerStatuses: containers.map(({ name }) => ({ ...image, name, ready: !ends, started: !ends, state })),
    };
  }
}

async function addNode(client: KubeClient, name: string, { capacity, labels, taints }: Shape): Promise<void> {
  const node: Named = {
    ...NODE,
    metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
    spec: taints === undefined ? {} : { taints },
  };
  await client.add(node);
  const conditions = [{ type: "Ready", status: "True", reason: "Pretended", message: "" }];
  const all = { pods: "100", "ephemeral-storage": "100Gi", ...capacity };
  const patch = { status: { capacity: all, allocatable: all, conditions } };
  const patched = await client.call("PATCH", `${await client.path(NODE)}/${name}/status`, patch, "application/merge-patch+json");
  if (patched.status !== 200) throw new Error(JSON.stringify(patched.body));
}
