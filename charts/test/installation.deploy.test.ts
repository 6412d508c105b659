import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasOpenssl, waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram } from "../../deploy/test/program.js";
import { ControlPlane } from "./control-plane/control-plane.js";
import { addCustomResources, addNamespace, addVolumes } from "./control-plane/furnishing.js";
import { PretendedNodes, type Shape } from "./control-plane/pretended-nodes.js";
import { findPrograms, RELEASE } from "./control-plane/programs.mjs";
import { ReleaseState } from "./control-plane/release-state.js";
import { CHART, Helm, type Manifest, podsOf } from "./helm.js";
import { PRIVILEGED, VALUE_SETS } from "./value-sets.js";

const START_MS = 240_000;
const INSTALL_MS = 180_000;
const NEXT = "0.2.0";
const programs = findPrograms();
const HELMS = Object.entries({ "Helm 4": findProgram("helm"), "Helm 3": findProgram("helm3") }).flatMap(([name, program]) =>
  program === undefined ? [] : [{ name, helm: new Helm(program) }],
);
const canRun = programs !== undefined && HELMS.length > 0 && hasOpenssl();
if (programs === undefined) console.log("skipped: no control plane was built; `npm run test:kubernetes` does, once, where Go is");

/** Without plans of fleets, which ask for other nodes than are pretended here. */
const SETS = Object.entries(VALUE_SETS)
  .filter(([name]) => !name.startsWith("a plan of "))
  .map(([name, values], index) => [name, values, index] as const);
const REDIS = "demo-moiety-redis-for-trials";
const LEFT_NOTHING = [
  ["apps/v1", "Deployment"],
  ["apps/v1", "StatefulSet"],
  ["autoscaling/v2", "HorizontalPodAutoscaler"],
  ["batch/v1", "Job"],
  ["cert-manager.io/v1", "Certificate"],
  ["keda.sh/v1alpha1", "ScaledObject"],
  ["monitoring.coreos.com/v1", "PodMonitor"],
  ["networking.k8s.io/v1", "NetworkPolicy"],
  ["policy/v1", "PodDisruptionBudget"],
  ["v1", "ConfigMap"],
  ["v1", "Secret"],
  ["v1", "Service"],
] as const;

const CPU: Shape = { capacity: { cpu: "64", memory: "128Gi" } };
const GPU: Shape = {
  capacity: { cpu: "16", memory: "64Gi", "nvidia.com/gpu": "1" },
  taints: [{ key: "nvidia.com/gpu", effect: "NoSchedule" }],
};
const NODES = {
  ...Object.fromEntries(["cpu-0", "cpu-1", "cpu-2", "cpu-3"].map((name) => [name, CPU])),
  ...Object.fromEntries(["gpu-0", "gpu-1", "gpu-2", "gpu-3"].map((name) => [name, GPU])),
};

describe.runIf(canRun)(`a control plane of Kubernetes ${RELEASE}, with nodes on which nothing runs`, () => {
  const folder = mkdtempSync(join(tmpdir(), "moiety-installation-"));
  const next = join(folder, "next");
  let plane: ControlPlane;
  let nodes: PretendedNodes;

  beforeAll(async () => {
    if (programs === undefined) return;
    cpSync(CHART, next, { recursive: true });
    const file = join(next, "Chart.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replaceAll(/^(version|appVersion): .*/gm, `$1: ${NEXT}`));
    plane = await ControlPlane.start(programs, { controllers: true });
    await addCustomResources(plane.client);
    await addVolumes(plane.client, 60);
    nodes = await PretendedNodes.start(plane.client, NODES);
  }, START_MS);

  afterAll(async () => {
    await nodes?.close();
    await plane?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A namespace with the claims that pods mount and the chart does not make. */
  async function prepare(namespace: string, name: string, manifests: readonly Manifest[]): Promise<void> {
    await addNamespace(plane.client, namespace, name === PRIVILEGED ? "privileged" : "restricted");
    const made = manifests.filter(({ kind }) => kind === "PersistentVolumeClaim").map(({ metadata }) => metadata.name);
    const spec = { accessModes: ["ReadWriteMany"], resources: { requests: { storage: "1Gi" } } };
    for (const claim of claimsOf(manifests).filter((each) => !made.includes(each)))
      await plane.client.add({ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: claim }, spec }, namespace);
  }

  /** Runs helm, which must warn of nothing. */
  async function call(
    helm: Helm,
    words: readonly string[],
    namespace: string,
    values: readonly (string | object)[],
  ): Promise<void> {
    const given = [...words, "--namespace", namespace, "--kubeconfig", plane.kubeconfig, "--timeout", "60s"];
    const { status, text } = await helm.work(given, ...values);
    expect(status, `${text}\n${nodes.describe()}\n${plane.describe()}`).toBe(0);
    expect(text).not.toMatch(/warn/i);
  }

  /** Waits until controllers have nothing more to do. */
  async function settle(state: ReleaseState): Promise<void> {
    let faults: readonly string[] = [];
    const isRight = async () => {
      faults = await state.faults();
      return faults.length === 0;
    };
    await waitUntil("all is as it should be", isRight, { timeoutMs: 60_000, intervalMs: 200, describe: () => faults.join("\n") });
  }

  describe.each(HELMS.map((each) => [each.name, each.helm] as const))("under %s", (helmName, helm) => {
    it.each(SETS)(
      "is given the chart with %s, its next version, and loses it",
      { timeout: INSTALL_MS },
      async (name, values, index) => {
        const namespace = `helm-${helmName.at(-1)}-${index}`;
        const manifests = helm.manifests(...values);
        await prepare(namespace, name, manifests);
        const state = new ReleaseState(plane.client, namespace);
        const own = await state.names("v1", "PersistentVolumeClaim");

        await call(helm, ["install", "demo", CHART, "--wait"], namespace, values);
        await settle(state);
        const installed = await state.pods();
        expect(installed.length).toBeGreaterThan(2);
        for (const { node } of installed) expect(Object.keys(NODES)).toContain(node);

        await call(helm, ["upgrade", "demo", next, "--wait"], namespace, values);
        await settle(state);
        const upgraded = await state.pods();
        expect(upgraded.map(({ image }) => image)).toEqual(expect.arrayContaining([expect.stringMatching(`-gateway:${NEXT}$`)]));
        for (const { image } of upgraded) expect(image).not.toContain(":0.1.0");

        await call(helm, ["uninstall", "demo", "--wait"], namespace, []);
        await waitUntil("no pod is left", async () => (await state.pods()).length === 0);
        for (const [apiVersion, kind] of LEFT_NOTHING) expect(await state.names(apiVersion, kind), kind).toEqual([]);
        const kept = manifests.filter(({ kind }) => kind === "PersistentVolumeClaim").map(({ metadata }) => metadata.name);
        const data = manifests.some(({ metadata }) => metadata.name === REDIS) ? [`data-${REDIS}-0`] : [];
        expect(await state.names("v1", "PersistentVolumeClaim")).toEqual([...own, ...kept, ...data].sort());
      },
    );

    it("takes values of another layout for an upgrade, from each to the next", { timeout: INSTALL_MS }, async () => {
      const namespace = `helm-${helmName.at(-1)}-changes`;
      await addNamespace(plane.client, namespace, "privileged");
      const [first, ...others] = SETS;
      await call(helm, ["install", "demo", CHART], namespace, first?.[1] ?? []);
      for (const [, values] of [...others, ...SETS].slice(0, SETS.length))
        await call(helm, ["upgrade", "demo", CHART, ...force(helmName)], namespace, values);
      await call(helm, ["uninstall", "demo"], namespace, []);
    });

    it("loses no pod when autoscalers are turned on, leaves what they set, and takes it back when they are off", {
      timeout: INSTALL_MS,
    }, async () => {
      const namespace = `helm-${helmName.at(-1)}-scaled`;
      const fixed = [...(VALUE_SETS["defaults"] ?? []), fourOfEach({})];
      const scaled = [
        ...(VALUE_SETS["defaults"] ?? []),
        fourOfEach({ autoscaling: { kind: "hpa", minReplicas: 4, maxReplicas: 8 } }),
      ];
      await prepare(namespace, "defaults", helm.manifests(...fixed));
      const state = new ReleaseState(plane.client, namespace);
      await call(helm, ["install", "demo", CHART, "--wait"], namespace, fixed);
      const uids = async () => (await state.pods()).map(({ uid }) => uid).sort();
      const before = await uids();

      await call(helm, ["upgrade", "demo", CHART, "--wait"], namespace, scaled);
      await settle(state);
      expect(await uids()).toEqual(before);

      const six = Object.keys(await state.replicas()).filter((name) => !name.endsWith("-router"));
      expect(six).toHaveLength(3);
      const each = (count: number) => Object.fromEntries(six.map((name) => [name, count]));
      for (const name of six) await state.scale(name, 6);
      await call(helm, ["upgrade", "demo", next, "--wait"], namespace, scaled);
      expect(await state.replicas()).toMatchObject(each(6));
      await call(helm, ["upgrade", "demo", CHART, "--wait"], namespace, scaled);
      for (const name of six) await state.scale(name, 7);
      await call(helm, ["rollback", "demo", "3", "--wait"], namespace, []);
      expect(await state.replicas()).toMatchObject(each(helmName === "Helm 4" ? 7 : 6));

      await call(helm, ["upgrade", "demo", CHART, "--wait", ...force(helmName)], namespace, fixed);
      expect(await state.replicas()).toMatchObject(each(4));
      await call(helm, ["uninstall", "demo", "--wait"], namespace, []);
    });
  });

  it.runIf(HELMS.length > 1)("is upgraded by Helm 4 where Helm 3 installed", { timeout: INSTALL_MS }, async () => {
    const [four, three] = HELMS;
    if (four === undefined || three === undefined) return;
    const values = VALUE_SETS["all of it"] ?? [];
    await prepare("taken-over", "all of it", four.helm.manifests(...values));
    await call(three.helm, ["install", "demo", CHART, "--wait"], "taken-over", values);
    await call(four.helm, ["upgrade", "demo", next, "--wait"], "taken-over", values);
    const state = new ReleaseState(plane.client, "taken-over");
    await settle(state);
    for (const { image } of await state.pods()) expect(image).toContain(`:${NEXT}`);
  });

  it("has the workers of four nodes with a GPU each on a node of their own", { timeout: INSTALL_MS }, async () => {
    const values = VALUE_SETS["values-120b-4x24gb.yaml"] ?? [];
    const [helm] = HELMS.map((each) => each.helm);
    if (helm === undefined) return;
    await prepare("gpus", "", helm.manifests(...values));
    await call(helm, ["install", "demo", CHART, "--wait"], "gpus", values);
    const pods = await new ReleaseState(plane.client, "gpus").pods();
    const nodes = pods.filter(({ name }) => /attention|expert/.test(name)).map(({ node }) => node);
    expect(nodes.sort()).toEqual(["gpu-0", "gpu-1", "gpu-2", "gpu-3"]);
    await call(helm, ["uninstall", "demo", "--wait"], "gpus", []);
  });
});

/** What takes the number of pods from an autoscaler, which Helm 3 does unasked. */
function force(helmName: string): readonly string[] {
  return helmName === "Helm 4" ? ["--force-conflicts"] : [];
}

/** Values for four pods of all that can be scaled. */
function fourOfEach(settings: object): object {
  const four = { replicas: 4, ...settings };
  return { gateway: four, attention: four, expertPools: [{ name: "main", ...four }] };
}

/** Names of the claims that pods mount. */
function claimsOf(manifests: readonly Manifest[]): readonly string[] {
  const volumes = podsOf(manifests).flatMap(
    ({ pod }) => pod.volumes as readonly { persistentVolumeClaim?: { claimName: string } }[],
  );
  return [...new Set(volumes.flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []))];
}
