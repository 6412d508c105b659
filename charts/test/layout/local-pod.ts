import { readFileSync } from "node:fs";
import { ManagedProcess, type ProcessExit, waitUntil } from "@moiety/testing";
import type { Container, Manifest, PodSpec } from "../helm.js";
import { Kubelet } from "./kubelet.js";

export interface LocalPodOptions {
  readonly name: string;
  readonly ip: string;
  readonly owner: Manifest;
  readonly pod: PodSpec;
  readonly container: Container;
  readonly command: Pick<ConstructorParameters<typeof ManagedProcess>[0], "file" | "args" | "env" | "cwd">;
}

const READY_WITHIN_MS = 60_000;

/** A pod of one container as a process of this machine, with an address of its own, probed from its start on. */
export class LocalPod {
  readonly name: string;
  readonly ip: string;
  readonly owner: Manifest;
  readonly labels: Readonly<Record<string, string>>;
  readonly container: Container;
  readonly process: ManagedProcess;
  readonly kubelet: Kubelet;
  readonly #pod: PodSpec;
  #peakBytes = 0;

  constructor({ name, ip, owner, pod, container, command }: LocalPodOptions) {
    this.name = name;
    this.ip = ip;
    this.owner = owner;
    this.labels = owner.spec.template.metadata.labels as Record<string, string>;
    this.container = container;
    this.#pod = pod;
    this.process = new ManagedProcess({ name, ...command });
    this.process.start();
    this.kubelet = new Kubelet(this);
  }

  async waitReady(): Promise<void> {
    await waitUntil(`${this.name} is ready`, () => this.kubelet.isReady, {
      timeoutMs: READY_WITHIN_MS,
      describe: () => this.process.describe(),
      hopeless: () => !this.process.isAlive,
    });
  }

  /** Ends it as Kubernetes does: its endpoint goes with SIGTERM, and after the grace period comes SIGKILL. */
  async terminate(): Promise<ProcessExit> {
    this.#measure();
    if ("lifecycle" in this.container) throw new Error(`${this.name} has hooks, which are not run here`);
    const [exit] = await Promise.all([
      this.process.terminate(1_000 * (this.#pod.terminationGracePeriodSeconds ?? 30)),
      this.kubelet.stop(),
    ]);
    return exit;
  }

  async kill(): Promise<void> {
    this.#measure();
    await this.kubelet.stop();
    await this.process.kill();
  }

  /** The most memory that it had resident, mapped files included; 0 where the system does not say. */
  get peakBytes(): number {
    this.#measure();
    return this.#peakBytes;
  }

  #measure(): void {
    const { pid } = this.process;
    if (pid === undefined) return;
    const [, kib = "0"] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    this.#peakBytes = Math.max(this.#peakBytes, Number(kib) * 1_024);
  }
}
