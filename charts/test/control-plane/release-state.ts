import type { KubeClient } from "./kube-client.js";

interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { readonly image: string }[] };
  readonly status: { readonly phase: string };
}

interface Scaled {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly replicas: number };
  readonly status: { readonly readyReplicas?: number; readonly updatedReplicas?: number };
}

interface Slice {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly endpoints: readonly { readonly addresses: readonly string[] }[] | null;
}

interface Budget {
  readonly metadata: { readonly name: string };
  readonly status: { readonly expectedPods: number; readonly disruptionsAllowed: number };
}

interface Autoscaler {
  readonly metadata: { readonly name: string };
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const CORE = "v1";
const APPS = "apps/v1";

/** What controllers and the scheduler made of the objects in a namespace. */
export class ReleaseState {
  readonly #client: KubeClient;
  readonly #namespace: string;

  constructor(client: KubeClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  /** The pods that go on running. */
  async pods(): Promise<
    readonly { readonly name: string; readonly uid: string; readonly node: string; readonly image: string }[]
  > {
    const pods = await this.#list<Pod>(CORE, "Pod");
    return pods.flatMap(({ metadata, spec, status }) =>
      status.phase === "Succeeded"
        ? []
        : [{ name: metadata.name, uid: metadata.uid, node: spec.nodeName ?? "none", image: spec.containers[0]?.image ?? "" }],
    );
  }

  /** Names of objects of a kind. */
  async names(apiVersion: string, kind: string): Promise<readonly string[]> {
    const objects = await this.#list<{ readonly metadata: { readonly name: string } }>(apiVersion, kind);
    return objects.map(({ metadata }) => metadata.name).sort();
  }

  /** How many pods each deployment and stateful set is to have. */
  async replicas(): Promise<Readonly<Record<string, number>>> {
    return Object.fromEntries((await this.#workloads()).map(({ metadata, spec }) => [metadata.name, spec.replicas]));
  }

  /** Sets how many pods a deployment or stateful set is to have, the way autoscalers do. */
  async scale(name: string, replicas: number): Promise<void> {
    const kind = (await this.names(APPS, "Deployment")).includes(name) ? "Deployment" : "StatefulSet";
    const path = `${await this.#client.path({ apiVersion: APPS, kind }, this.#namespace)}/${name}/scale`;
    const { status, body } = await this.#client.call("PATCH", path, { spec: { replicas } }, "application/merge-patch+json");
    if (status !== 200) throw new Error(JSON.stringify(body));
  }

  /** What is not as it should be, in words: workloads short of pods, services of nobody, budgets that allow nothing, autoscalers without a target. */
  async faults(): Promise<readonly string[]> {
    const workloads = await this.#workloads();
    const short = workloads.filter(
      ({ spec, status }) => ![status.readyReplicas, status.updatedReplicas].every((each) => each === spec.replicas),
    );
    const slices = await this.#list<Slice>("discovery.k8s.io/v1", "EndpointSlice");
    const served = slices
      .filter(({ endpoints }) => (endpoints ?? []).length > 0)
      .map(({ metadata }) => metadata.labels["kubernetes.io/service-name"]);
    const budgets = await this.#list<Budget>("policy/v1", "PodDisruptionBudget");
    const autoscalers = await this.#list<Autoscaler>("autoscaling/v2", "HorizontalPodAutoscaler");
    const isAble = ({ status }: Autoscaler) =>
      status.conditions?.some(({ type, status }) => type === "AbleToScale" && status === "True");
    return [
      ...short.map(
        ({ metadata, spec, status }) => `${metadata.name}: ${status.readyReplicas ?? 0} of ${spec.replicas} are ready`,
      ),
      ...(await this.names(CORE, "Service")).filter((name) => !served.includes(name)).map((name) => `${name}: no endpoint`),
      ...budgets.filter(({ status }) => status.expectedPods === 0).map(({ metadata }) => `${metadata.name}: a budget of no pod`),
      ...budgets
        .filter(({ status }) => status.disruptionsAllowed === 0)
        .map(({ metadata }) => `${metadata.name}: nothing may be evicted`),
      ...autoscalers.filter((each) => !isAble(each)).map(({ metadata }) => `${metadata.name}: cannot scale`),
    ];
  }

  async #workloads(): Promise<readonly Scaled[]> {
    return [...(await this.#list<Scaled>(APPS, "Deployment")), ...(await this.#list<Scaled>(APPS, "StatefulSet"))];
  }

  #list<T>(apiVersion: string, kind: string): Promise<readonly T[]> {
    return this.#client.list<T>({ apiVersion, kind }, this.#namespace);
  }
}
