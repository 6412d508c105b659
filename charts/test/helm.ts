import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";

/** Folder of the chart. */
export const CHART = fileURLToPath(new URL("../moiety", import.meta.url));
/** Label that names the component of an object. */
export const COMPONENT = "app.kubernetes.io/component";

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources: { readonly requests?: Record<string, unknown>; readonly limits?: Record<string, unknown> };
  readonly securityContext: Record<string, unknown>;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
  readonly [key: string]: unknown;
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes: readonly Record<string, unknown>[];
  readonly securityContext: Record<string, unknown>;
  readonly terminationGracePeriodSeconds?: number;
  readonly [key: string]: unknown;
}

/** A Kubernetes object, as far as the tests look into it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has a shape of its own, which Kubernetes' schemas check.
  readonly spec?: any;
  readonly data?: Record<string, string>;
}

/** Renders the chart. Without its cluster's version Helm 3, unless its own makefile built it, takes it for 1.20. */
export const TEMPLATE = ["template", "demo", CHART, "--kube-version", "1.37"];

export class Helm {
  readonly #program: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "moiety-chart-"));

  constructor(program: string) {
    this.#program = program;
  }

  /** Runs a command with files of values: an example's name, or values. */
  run(command: readonly string[], ...values: readonly (string | object)[]): SpawnSyncReturns<string> {
    return spawnSync(this.#program, this.#arguments(command, values), { encoding: "utf8" });
  }

  /** As `run`, but others work meanwhile. Returns how it ended, and all that it wrote. */
  async work(
    command: readonly string[],
    ...values: readonly (string | object)[]
  ): Promise<{ status: number | null; text: string }> {
    const child = spawn(this.#program, this.#arguments(command, values), { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    const [status] = (await once(child, "close")) as [number | null];
    return { status, text };
  }

  /** The text of all manifests. @throws Error with what helm says. */
  render(...values: readonly (string | object)[]): string {
    const { status, stdout, stderr } = this.run([...TEMPLATE, "--namespace", "llm"], ...values);
    if (status !== 0) throw new Error(stderr);
    return stdout;
  }

  /** The manifests as objects. */
  manifests(...values: readonly (string | object)[]): readonly Manifest[] {
    // As Kubernetes reads YAML: `yes` is true, and 0440 has eight for its base.
    const documents = parseAllDocuments(this.render(...values), { version: "1.1" }).map(
      (document) => document.toJS() as Manifest | null,
    );
    return documents.filter((document) => document !== null);
  }

  #arguments(command: readonly string[], values: readonly (string | object)[]): readonly string[] {
    const files = values.map((given, index) => (typeof given === "string" ? join(CHART, given) : this.#write(given, index)));
    return [...command, ...files.flatMap((file) => ["--values", file])];
  }

  #write(values: object, index: number): string {
    const file = join(this.#folder, `values-${index}.yaml`);
    // JSON is YAML in which "off" stays a string.
    writeFileSync(file, JSON.stringify(values));
    return file;
  }
}

/** The pods of manifests with the name of what makes them. */
export function podsOf(manifests: readonly Manifest[]): readonly { readonly owner: Manifest; readonly pod: PodSpec }[] {
  return manifests.flatMap((owner) => {
    const pod = owner.kind === "Pod" ? owner.spec : owner.spec?.template?.spec;
    return pod === undefined ? [] : [{ owner, pod: pod as PodSpec }];
  });
}

/** The one object of a kind whose name ends so. */
export function only(manifests: readonly Manifest[], kind: string, ending: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name.endsWith(ending));
  const [manifest] = found;
  if (manifest === undefined || found.length > 1) throw new Error(`${found.length} of ${kind} *${ending}`);
  return manifest;
}

/** The variables of the first container of what makes pods, by name. */
export function envOf(manifest: Manifest): Readonly<Record<string, { readonly value?: string; readonly valueFrom?: object }>> {
  const variables = podsOf([manifest])[0]?.pod.containers[0]?.env ?? [];
  return Object.fromEntries(variables.map(({ name, ...rest }) => [name, rest]));
}

const UNITS: Readonly<Record<string, number>> = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 };

/** A quantity of memory, such as `2Gi`, in bytes. */
export function bytesOf(quantity: string): number {
  const [, amount = "", unit = ""] = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti)?$/.exec(quantity) ?? [];
  if (amount === "") throw new Error(`no quantity: ${quantity}`);
  return Number(amount) * (UNITS[unit] ?? 1);
}
