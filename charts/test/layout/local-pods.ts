import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { cpSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ProcessExit } from "@moiety/testing";
import { asImageUser, ComposeRun } from "../../../deploy/test/compose-run.js";
import { commandOf, instructionsFor, lastOf, pairsOf, readDockerfile } from "../../../deploy/test/dockerfile.js";
import { type Container, type Manifest, only, type PodSpec, podsOf } from "../helm.js";
import { type Contents, PodFileSystem } from "./file-system.js";
import { LocalPod } from "./local-pod.js";
import { ServiceProxy } from "./service-proxy.js";

export interface LocalPodsOptions {
  readonly manifests: readonly Manifest[];
  /** Secrets that the manifests name. */
  readonly secrets: Contents;
  /** Hosts outside of the release, by name. */
  readonly hosts: Readonly<Record<string, string>>;
  /** Programs of images that are not ours, by the first word of the container's command. */
  readonly programs: Readonly<Record<string, string>>;
}

const dockerfile = readDockerfile("deploy/Dockerfile");
const RUNS = new Set(["Deployment", "StatefulSet"]);

/**
 * Runs a rendered release as processes: entry points of the images, commands, environments, volumes, users and probes of the manifests.
 * Every pod has a loopback address of its own, names are those of the services, and the gateway's service forwards to ready pods alone.
 */
export class LocalPods {
  readonly #options: LocalPodsOptions;
  readonly #images = new ComposeRun();
  readonly #network = `127.${randomInt(64, 250)}.${randomInt(1, 250)}`;
  readonly #contents: Contents;
  #pods: readonly LocalPod[] = [];
  #addresses = 0;
  #gateway: ServiceProxy | undefined;

  constructor(options: LocalPodsOptions) {
    this.#options = options;
    const maps = options.manifests.filter(({ kind }) => kind === "ConfigMap");
    this.#contents = { ...options.secrets, ...Object.fromEntries(maps.map(({ metadata, data = {} }) => [metadata.name, data])) };
  }

  get pods(): readonly LocalPod[] {
    return this.#pods;
  }

  /** Of the gateway's service. */
  get url(): string {
    return this.#gateway?.url ?? "";
  }

  /** What runs pods: their names and how many. */
  get owners(): readonly Manifest[] {
    return this.#options.manifests.filter(({ kind }) => RUNS.has(kind));
  }

  podsOf(owner: Manifest): readonly LocalPod[] {
    return this.#pods.filter((pod) => pod.owner === owner);
  }

  /** Packs the images and starts all pods, in no good order. */
  async start(): Promise<void> {
    const names = this.owners.map((owner) => podOf(owner).containers[0]?.name ?? "");
    await this.#images.pack([...new Set(names)].map((name) => `services/${name}`));
    cpSync(fileURLToPath(new URL("cluster-dns.mjs", import.meta.url)), join(this.#images.folder, "cluster-dns.mjs"));
    for (const [name, file] of Object.entries(this.#options.programs)) cpSync(file, join(this.#images.folder, name));
    const { spec } = only(this.#options.manifests, "Service", "-gateway");
    const [{ port }] = spec.ports;
    const endpoints = () => this.#selected(spec.selector).flatMap(({ kubelet, ip }) => (kubelet.isReady ? [ip] : []));
    this.#gateway = await ServiceProxy.start({ ip: this.#nextAddress(), port, targetPort: 8080, endpoints });
    for (const owner of this.owners)
      for (let index = 0; index < owner.spec.replicas; index += 1) this.#startPod(owner, `${index}`);
  }

  /** Replaces the pods of one owner as its strategy says. Gives how each of the old ones ended. */
  async rollOut(owner: Manifest): Promise<readonly (readonly [string, ProcessExit])[]> {
    const old = [...this.podsOf(owner)].reverse();
    const surges = Number(owner.spec.strategy?.rollingUpdate?.maxSurge ?? 0) > 0;
    const ends: (readonly [string, ProcessExit])[] = [];
    for (const [index, pod] of old.entries()) {
      // A stateful set gives a pod's name to the next; a deployment never does.
      const suffix = owner.kind === "StatefulSet" ? (/\d+$/.exec(pod.name)?.[0] ?? "") : `${old.length + index}`;
      if (surges) await this.#startPod(owner, suffix).waitReady();
      ends.push([pod.name, await this.#terminate(pod)]);
      if (!surges) await this.#startPod(owner, suffix).waitReady();
    }
    return ends;
  }

  /** Runs a pod of `helm test` to its end. */
  async runHook(owner: Manifest): Promise<{ readonly code: number | null; readonly text: string }> {
    const [container] = owner.spec.containers as readonly Container[];
    if (container === undefined) throw new Error(`${owner.metadata.name} has no container`);
    const { file, args, env, cwd } = this.#commandOf({ name: owner.metadata.name, ip: "", pod: owner.spec, container });
    const child = spawn(file, args, { env, cwd });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { code, text };
  }

  describe(): string {
    return this.#pods.map(({ process }) => process.describe()).join("\n\n");
  }

  async close(): Promise<void> {
    await Promise.all(this.#pods.map((pod) => pod.kill()));
    await this.#gateway?.close();
    await this.#images.close();
  }

  #startPod(owner: Manifest, suffix: string): LocalPod {
    const pod = podOf(owner);
    const [container] = pod.containers;
    if (container === undefined) throw new Error(`${owner.metadata.name} has no container`);
    const identity = { name: `${owner.metadata.name}-${suffix}`, ip: this.#nextAddress() };
    this.#publishNames();
    const command = this.#commandOf({ ...identity, pod, container });
    const started = new LocalPod({ ...identity, owner, pod, container, command });
    this.#pods = [...this.#pods, started];
    this.#publishNames();
    return started;
  }

  async #terminate(pod: LocalPod): Promise<ProcessExit> {
    const exit = await pod.terminate();
    this.#pods = this.#pods.filter((each) => each !== pod);
    this.#publishNames();
    return exit;
  }

  #nextAddress(): string {
    this.#addresses += 1;
    return `${this.#network}.${this.#addresses}`;
  }

  #selected(selector: Readonly<Record<string, string>>): readonly LocalPod[] {
    return this.#pods.filter(({ labels }) => Object.entries(selector).every(([key, value]) => labels[key] === value));
  }

  /** What the cluster's DNS says: a headless service's name stands for its pods, ready or not, the gateway's for its proxy. */
  #publishNames(): void {
    const hosts = Object.fromEntries(Object.entries(this.#options.hosts).map(([name, address]) => [name, [address]]));
    for (const { kind, metadata, spec } of this.#options.manifests) {
      if (kind !== "Service") continue;
      hosts[metadata.name] =
        spec.clusterIP === "None" ? this.#selected(spec.selector).map(({ ip }) => ip) : [new URL(this.url).hostname];
    }
    writeFileSync(`${this.#hostsFile}.new`, JSON.stringify(hosts), { mode: 0o644 });
    renameSync(`${this.#hostsFile}.new`, this.#hostsFile);
  }

  get #hostsFile(): string {
    return join(this.#images.folder, "hosts.json");
  }

  #commandOf(about: { readonly name: string; readonly ip: string; readonly pod: PodSpec; readonly container: Container }) {
    const { name, pod, container } = about;
    const folder = join(this.#images.folder, "pods", `${name}-${this.#addresses}`);
    const files = new PodFileSystem({ folder, pod, container, contents: this.#contents });
    const target = /^moiety-([a-z-]+):/.exec(container.image)?.[1];
    const instructions = target === undefined ? [] : instructionsFor(dockerfile, target);
    const cwd = target === undefined ? folder : this.#images.app(target);
    const given = [...((container["command"] as readonly string[]) ?? []), ...((container["args"] as readonly string[]) ?? [])];
    const words = given.length > 0 ? given : commandOf(lastOf(instructions, "ENTRYPOINT"));
    const here = words.map((word) => (word.startsWith("/app/") ? word.replace("/app", cwd) : files.here(word)));
    const [file = "", ...args] = [...asImageUser, ...here.map((word, index) => (index === 0 ? this.#program(word) : word))];
    const env: Record<string, string> = {
      PATH: process.env["PATH"] ?? "",
      HOME: "/nonexistent",
      TMPDIR: files.here("/tmp"),
      NODE_OPTIONS: `--import=file://${join(this.#images.folder, "cluster-dns.mjs")}`,
      CLUSTER_HOSTS: this.#hostsFile,
    };
    const values = { ...pairsOf(instructions, "ENV"), ...this.#environmentOf(about) };
    for (const [variable, value] of Object.entries(values)) {
      const here = files.here(value).replace("0.0.0.0", about.ip);
      // Programs that are not ours know nothing of our names.
      env[variable] = target === undefined ? here.replace(/(?<=\/\/)[a-z][-a-z0-9]*/, new URL(this.url).hostname) : here;
    }
    return { file, args, env, cwd };
  }

  /** The program of an image of others, if one was named, or the word itself. */
  #program(word: string): string {
    return word in this.#options.programs ? join(this.#images.folder, word) : word;
  }

  #environmentOf({ name, ip, container }: { readonly name: string; readonly ip: string; readonly container: Container }) {
    return Object.fromEntries(
      (container.env ?? []).map((variable) => {
        const { fieldRef, secretKeyRef } = (variable.valueFrom ?? {}) as {
          readonly fieldRef?: { readonly fieldPath: string };
          readonly secretKeyRef?: { readonly name: string; readonly key: string };
        };
        const fields: Readonly<Record<string, string>> = { "metadata.name": name, "status.podIP": ip };
        const secret = secretKeyRef && this.#contents[secretKeyRef.name]?.[secretKeyRef.key];
        const value = variable.value ?? secret ?? (fieldRef && fields[fieldRef.fieldPath]);
        if (value === undefined) throw new Error(`nothing is known of ${variable.name} of ${name}`);
        return [variable.name, value];
      }),
    );
  }
}

function podOf(owner: Manifest): PodSpec {
  const [found] = podsOf([owner]);
  if (found === undefined) throw new Error(`${owner.metadata.name} runs no pods`);
  return found.pod;
}
