import { randomInt } from "node:crypto";
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { ManagedProcess } from "@moiety/testing";
import { ComposeRun } from "../../deploy/test/compose-run.js";
import { commandOf, instructionsFor, lastOf, pairsOf, readDockerfile } from "../../deploy/test/dockerfile.js";
import { REPOSITORY } from "../../deploy/test/repository.js";
import { type Container, type Manifest, podsOf } from "./helm.js";

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

const dockerfile = readDockerfile("deploy/Dockerfile");

/** A pod as a process of this machine, with an address of its own. */
export class LocalPod {
  readonly name: string;
  readonly ip: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly container: Container;
  readonly process: ManagedProcess;

  constructor(options: Pick<LocalPod, "name" | "ip" | "labels" | "container" | "process">) {
    this.name = options.name;
    this.ip = options.ip;
    this.labels = options.labels;
    this.container = options.container;
    this.process = options.process;
  }

  /** Whether a probe is answered as the kubelet wants it. */
  async passes(kind: "startupProbe" | "readinessProbe" | "livenessProbe"): Promise<boolean> {
    const { httpGet } = this.container[kind] as Probe;
    const port = this.container.ports?.find(({ name }) => name === httpGet.port)?.containerPort;
    return fetch(`http://${this.ip}:${port}${httpGet.path}`, { signal: AbortSignal.timeout(5_000) }).then(
      ({ status }) => status >= 200 && status < 400,
      () => false,
    );
  }
}

/** Runs rendered pods of ours as processes: entry point and environment of image and manifest, every pod on its own loopback address. */
export class LocalPods {
  readonly #images = new ComposeRun();
  readonly #network = `127.${randomInt(64, 250)}.${randomInt(1, 250)}`;
  readonly #addresses = new Map<string, string>();
  readonly pods: LocalPod[] = [];
  readonly #manifests: readonly Manifest[];

  constructor(manifests: readonly Manifest[]) {
    this.#manifests = manifests;
  }

  /** Packs the images and starts all pods of a release, Redis included. */
  async start(): Promise<void> {
    const owners = podsOf(this.#manifests).filter(({ owner }) => owner.kind === "Deployment" || owner.kind === "StatefulSet");
    const names = owners.map(({ pod }) => pod.containers[0]?.name ?? "").filter((name) => name !== "redis");
    await this.#images.pack([...new Set(names)].map((name) => `services/${name}`));
    const planned = owners.flatMap(({ owner, pod: { containers } }) =>
      Array.from({ length: owner.spec.replicas as number }, (_, index) => {
        const [container] = containers;
        if (container === undefined) throw new Error(`${owner.metadata.name} has no container`);
        const ip = `${this.#network}.${this.#addresses.size + 1}`;
        const name = `${owner.metadata.name}-${index}`;
        this.#addresses.set(name, ip);
        return { name, ip, labels: owner.spec.template.metadata.labels as Record<string, string>, container };
      }),
    );
    // A service is here the address of its first pod.
    for (const { kind, metadata, spec } of this.#manifests) {
      if (kind !== "Service") continue;
      const is = (labels: Record<string, string>) => Object.entries(spec.selector).every(([key, value]) => labels[key] === value);
      const pod = planned.find(({ labels }) => is(labels));
      if (pod !== undefined) this.#addresses.set(metadata.name, pod.ip);
    }
    for (const pod of planned) this.pods.push(new LocalPod({ ...pod, process: this.#processOf(pod) }));
  }

  /** The address of a pod or service. */
  addressOf(name: string): string {
    const address = this.#addresses.get(name);
    if (address === undefined) throw new Error(`there is no ${name}`);
    return address;
  }

  describe(): string {
    return this.pods.map(({ process }) => process.describe()).join("\n\n");
  }

  async close(): Promise<void> {
    await Promise.all(this.pods.map(({ process }) => process.kill()));
    await this.#images.close();
  }

  #processOf({ name, ip, container }: { name: string; ip: string; container: Container }): ManagedProcess {
    const cwd = join(this.#images.folder, name);
    mkdirSync(cwd, { recursive: true });
    const process =
      container.name === "redis" ? this.#redis({ name, ip, container, cwd }) : this.#ours({ name, ip, container, cwd });
    process.start();
    return process;
  }

  #redis({ name, ip, container, cwd }: { name: string; ip: string; container: Container; cwd: string }): ManagedProcess {
    const given = (container["args"] as readonly string[]).map((word) => (word === "/data" ? cwd : word));
    const file = globalThis.process.env["MOIETY_REDIS_SERVER"] ?? "redis-server";
    return new ManagedProcess({ name, file, args: [...given, "--bind", ip, "--port", "6379"], env: {}, cwd });
  }

  #ours({ name, ip, container, cwd }: { name: string; ip: string; container: Container; cwd: string }): ManagedProcess {
    const instructions = instructionsFor(dockerfile, container.name);
    const app = this.#images.app(container.name);
    const model = join(cwd, "model");
    cpSync(`${REPOSITORY}packages/cli/models/moiety-tiny`, model, { recursive: true });
    const env: Record<string, string> = { ...pairsOf(instructions, "ENV") };
    for (const { name: variable, value, valueFrom } of container.env ?? [])
      env[variable] = value ?? fieldOf(valueFrom, { name, ip });
    for (const [variable, value] of Object.entries(env)) {
      const host = /(?:^|\/\/)([a-z][-a-z0-9]*):\d+$/.exec(value)?.[1];
      const here = host === undefined ? value : value.replace(host, this.addressOf(host));
      env[variable] = here.replace("0.0.0.0", ip).replace("/models/model", model);
    }
    const [file = "", ...args] = commandOf(lastOf(instructions, "ENTRYPOINT")).map((word) => word.replace(/^\/app\//, `${app}/`));
    return new ManagedProcess({ name, file, args, env, cwd });
  }
}

/** What the downward API tells a pod. */
function fieldOf(source: object | undefined, { name, ip }: { name: string; ip: string }): string {
  const { fieldPath } = (source as { fieldRef?: { fieldPath: string } }).fieldRef ?? {};
  if (fieldPath === "metadata.name") return name;
  if (fieldPath === "status.podIP") return ip;
  throw new Error(`nothing is known of ${JSON.stringify(source)}`);
}
