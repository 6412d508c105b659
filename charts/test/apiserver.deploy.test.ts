import { readFileSync } from "node:fs";
import { hasOpenssl } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { findProgram } from "../../deploy/test/program.js";
import { ControlPlane } from "./control-plane/control-plane.js";
import { addCustomResources, addNamespace } from "./control-plane/furnishing.js";
import type { Named, Refusal } from "./control-plane/kube-client.js";
import { podObjects } from "./control-plane/pod-objects.js";
import { findPrograms, RELEASE } from "./control-plane/programs.mjs";
import { Helm, only } from "./helm.js";
import { RELEASES } from "./schemas.js";
import { PRIVILEGED, VALUE_SETS } from "./value-sets.js";

const START_MS = 240_000;
const DOCUMENT = "docs/kubernetes.md";
const program = findProgram("helm");
const programs = findPrograms();
const canRun = program !== undefined && programs !== undefined && hasOpenssl();
if (programs === undefined)
  console.log("skipped: no kube-apiserver was built; `npm run test:kubernetes` does, once, where Go is");

describe.runIf(canRun)(`an API server of Kubernetes ${RELEASE}`, () => {
  const helm = new Helm(program ?? "helm");
  const rendered = Object.entries(VALUE_SETS).map(([name, values]) => ({
    name,
    namespace: name === PRIVILEGED ? "privileged" : "restricted",
    manifests: canRun ? helm.manifests(...values) : [],
  }));
  const all = rendered.flatMap(({ manifests }) => manifests);
  let plane: ControlPlane;

  beforeAll(async () => {
    if (programs === undefined) return;
    plane = await ControlPlane.start(programs);
    for (const level of ["restricted", "privileged"] as const) {
      await addNamespace(plane.client, level, level);
      // What the chart's pods run as.
      await plane.client.add({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "demo-moiety" } }, level);
    }
    await addCustomResources(plane.client);
  }, START_MS);

  afterAll(async () => {
    await plane?.close();
  });

  /** What the server would answer. */
  async function judge(object: Named, namespace = "restricted") {
    // A workload's controller creates pods and claims; helm applies all else.
    const isApplied = !["Pod", "PersistentVolumeClaim"].includes(object.kind);
    const { status, warnings, body } = await plane.client[isApplied ? "apply" : "create"](object, { namespace, dryRun: true });
    const message = body.kind === "Status" ? (body as Refusal).message : "";
    return { name: `${object.kind}/${object.metadata.name}`, isTaken: status === 200 || status === 201, message, warnings, body };
  }

  const taken = ({ kind, metadata }: Named) => ({ name: `${kind}/${metadata.name}`, isTaken: true, message: "", warnings: [] });

  it("is of the newest release whose schemas are here", () => {
    expect(RELEASE).toBe(RELEASES.at(-1));
  });

  it.each(rendered)(
    "takes every object of the chart with $name as it is, and warns of nothing",
    async ({ namespace, manifests }) => {
      for (const manifest of manifests) {
        const { body, ...answer } = await judge(manifest, namespace);
        expect(answer).toEqual(taken(manifest));
        expect(body).toMatchObject(asStored(manifest) as object);
      }
      expect(manifests.length).toBeGreaterThan(10);
    },
  );

  it.each(rendered)("lets in each pod and claim of the workloads with $name", async ({ namespace, manifests }) => {
    const made = manifests.flatMap(podObjects);
    for (const object of made) {
      const { body, ...answer } = await judge(object, namespace);
      expect(answer).toEqual(taken(object));
    }
    expect(made.filter(({ kind }) => kind === "Pod").length).toBeGreaterThan(1);
  });

  it(`takes the objects that ${DOCUMENT} tells to apply`, async () => {
    const blocks = [...readFileSync(DOCUMENT, "utf8").matchAll(/^( *)```yaml\n(.*?)^ *```/gms)];
    const texts = blocks.map(([, indent = "", text = ""]) => text.replaceAll(new RegExp(`^${indent}`, "gm"), ""));
    const objects = texts
      .filter((text) => /^kind:/m.test(text))
      .flatMap((text) => parseAllDocuments(text).map((each) => each.toJS()));
    expect(objects.map(({ kind }) => kind)).toEqual(["Issuer", "Certificate", "Issuer"]);
    for (const object of objects) {
      const { body, ...answer } = await judge(object);
      expect(answer).toEqual(taken(object));
    }
  });

  it("lets no pod that mounts a folder of its node into a namespace that is `restricted`, and warns of what makes it", async () => {
    const { manifests } = rendered.find(({ name }) => name === PRIVILEGED) ?? { manifests: [] };
    const workload = only(manifests, "Deployment", "-gateway");
    const warning =
      /would violate PodSecurity "restricted:latest": restricted volume types \(volume "model" uses .* "hostPath"\)/;
    expect(await judge(workload)).toMatchObject({ isTaken: true, warnings: [expect.stringMatching(warning)] });
    for (const pod of podObjects(workload))
      expect(await judge(pod)).toMatchObject({
        isTaken: false,
        message: expect.stringMatching(/forbidden: violates PodSecurity.*hostPath/),
      });
  });

  it.each<[string, (pod: Changed) => void, RegExp]>([
    [
      "may run as root",
      ({ spec }) => delete spec.containers[0].securityContext.runAsNonRoot && delete spec.securityContext.runAsNonRoot,
      /runAsNonRoot != true/,
    ],
    ["is root", ({ spec }) => (spec.securityContext.runAsUser = 0), /runAsUser=0/],
    ["keeps capabilities", ({ spec }) => delete spec.containers[0].securityContext.capabilities, /unrestricted capabilities/],
    [
      "may become more",
      ({ spec }) => delete spec.containers[0].securityContext.allowPrivilegeEscalation,
      /allowPrivilegeEscalation != false/,
    ],
    ["has no seccomp profile", ({ spec }) => delete spec.securityContext.seccompProfile, /seccompProfile/],
    ["is in the node's network", ({ spec }) => (spec.hostNetwork = true), /host namespaces/],
    ["mounts a volume that it does not have", ({ spec }) => (spec.volumes = []), /volumeMounts\[0\]\.name: Not found/],
    ["runs as nobody known", ({ spec }) => (spec.serviceAccountName = "nobody"), /serviceaccount "nobody" not found/],
    [
      "asks for more than its limit",
      ({ spec }) => (spec.containers[0].resources.limits.memory = "1Mi"),
      /must be less than or equal to memory limit/,
    ],
  ])("refuses a pod that %s", async (_, change, message) => {
    const [pod] = podObjects(only(all.slice(0, rendered[0]?.manifests.length), "Deployment", "-gateway"));
    const changed = structuredClone(pod) as Changed;
    change(changed);
    expect(await judge(changed)).toMatchObject({ isTaken: false, message: expect.stringMatching(message) });
  });

  it.each<[string, (manifest: Changed) => void, RegExp]>([
    ["ConfigMap", (it) => (it.wrongField = 1), /wrongField: field not declared/],
    ["Deployment", ({ spec }) => (spec.template.spec.containers[0].wrongField = 1), /wrongField: field not declared/],
    ["Deployment", ({ spec }) => (spec.template.metadata.labels = {}), /`selector` does not match template `labels`/],
    ["Deployment", ({ spec }) => (spec.strategy.type = "Recreate"), /may not be specified when strategy `type` is 'Recreate'/],
    ["StatefulSet", ({ spec }) => (spec.podManagementPolicy = "Fast"), /podManagementPolicy/],
    ["Service", ({ spec }) => (spec.ports[0].port = 0), /must be between 1 and 65535/],
    ["NetworkPolicy", ({ spec }) => (spec.egress = [{ to: [{ ipBlock: { cidr: "10.0.0.0/99" } }] }]), /cidr/],
    ["PodDisruptionBudget", ({ spec }) => (spec.minAvailable = 1), /minAvailable and maxUnavailable cannot be both set/],
    ["HorizontalPodAutoscaler", ({ spec }) => (spec.maxReplicas = 0), /maxReplicas/],
    ["Ingress", ({ spec }) => (spec.rules[0].http.paths[0].path = "v1"), /must be an absolute path/],
    ["Job", ({ spec }) => (spec.template.spec.restartPolicy = "Always"), /restartPolicy/],
    ["PersistentVolumeClaim", ({ spec }) => (spec.accessModes = []), /at least 1 access mode is required/],
    ["PodMonitor", ({ spec }) => (spec.podMetricsEndpoints[0].honourLabels = true), /honourLabels: field not declared/],
    ["PodMonitor", ({ spec }) => (spec.podMetricsEndpoints[0].interval = "often"), /interval.*should match/],
    ["PrometheusRule", ({ spec }) => delete spec.groups[0].rules[0].expr, /rules\[0\]\.expr: Required value/],
    ["ScaledObject", ({ spec }) => delete spec.scaleTargetRef, /spec\.scaleTargetRef: Required value/],
    ["ScaledObject", ({ spec }) => (spec.triggers[0].metadata.threshold = 1), /threshold: expected string/],
    ["Certificate", ({ spec }) => delete spec.issuerRef, /spec\.issuerRef: Required value/],
    ["Certificate", ({ spec }) => (spec.privateKey.algorithm = "ROT13"), /Unsupported value: "ROT13"/],
  ])("refuses a wrong %s: %s", async (kind, change, message) => {
    const changed = structuredClone(all.find((manifest) => manifest.kind === kind)) as Changed;
    change(changed);
    expect(await judge(changed)).toMatchObject({ isTaken: false, message: expect.stringMatching(message) });
  });
});

/** An object as the server writes it: quantities are text, and lists of nothing are left out. */
function asStored(value: unknown, isQuantity = false): unknown {
  if (isQuantity && typeof value === "number") return String(value);
  if (Array.isArray(value)) return value.map((each) => asStored(each));
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([, each]) => !(Array.isArray(each) && each.length === 0));
  const areQuantities = (key: string) => isQuantity || key === "limits" || key === "requests";
  return Object.fromEntries(kept.map(([key, each]) => [key, asStored(each, areQuantities(key))]));
}

// biome-ignore lint/suspicious/noExplicitAny: each kind has a shape of its own, and is to be broken.
type Changed = any;
