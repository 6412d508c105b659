import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findProgram } from "../../../deploy/test/program.js";
import { envOf, Helm, type Manifest, only, podsOf } from "../helm.js";
import { FILE, LEAST } from "../value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
const DOWNLOAD = { model: { source: "download", download: { files: [FILE] } } };
/** What mounts the model. */
const HOLDERS = ["demo-moiety-attention-worker", "demo-moiety-expert-main", "demo-moiety-gateway"];

const podOf = (manifest: Manifest) => podsOf([manifest])[0]?.pod;
const attentionOf = (manifests: readonly Manifest[]) => only(manifests, "Deployment", "-attention-worker");

describe.runIf(program !== undefined)("attention workers", { timeout: 120_000 }, () => {
  it("reserve GPUs of the resource that is named, beside what else is limited, and none by default", () => {
    const attention = {
      gpus: 2,
      gpuResource: "amd.com/gpu",
      threads: 6,
      resources: { requests: { cpu: "6", memory: "4Gi" }, limits: { memory: "6Gi" } },
      tolerations: [{ key: "amd.com/gpu", operator: "Exists" }],
    };
    const worker = attentionOf(helm.manifests(LEAST, { attention }));
    expect(podOf(worker)).toMatchObject({ tolerations: attention.tolerations });
    expect(podOf(worker)?.containers[0]?.resources).toEqual({
      requests: { cpu: "6", memory: "4Gi" },
      limits: { memory: "6Gi", "amd.com/gpu": 2 },
    });
    expect(envOf(worker)["MOIETY_THREADS"]).toEqual({ value: "6" });
    const limits = podOf(attentionOf(helm.manifests(LEAST)))?.containers[0]?.resources.limits;
    expect(Object.keys(limits ?? {})).toEqual(["memory"]);
  });

  it("hold the experts themselves where they are co-located: no router, no pools, no address of a router", () => {
    const manifests = helm.manifests(LEAST, { colocated: true, expertPools: [] });
    expect(envOf(attentionOf(manifests))).toMatchObject({ MOIETY_COLOCATED: { value: "true" } });
    expect(envOf(attentionOf(manifests))).not.toHaveProperty("MOIETY_ROUTER_ADDRESS");
    expect(manifests.filter(({ metadata }) => /router|expert/.test(metadata.name))).toEqual([]);
  });

  it("are replaced as the values say, and are given the time that they need to hand back requests", () => {
    const attention = { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }, drainTimeoutSeconds: 33 };
    const worker = attentionOf(helm.manifests(LEAST, { attention }));
    expect(worker.spec.strategy.rollingUpdate).toEqual(attention.rollingUpdate);
    expect(podOf(worker)?.terminationGracePeriodSeconds).toBe(33 + 10);
    expect(envOf(worker)["MOIETY_DRAIN_TIMEOUT_MS"]).toEqual({ value: "33000" });
  });
});

describe.runIf(program !== undefined)("expert workers", { timeout: 120_000 }, () => {
  it("are pools of different sizes, each with its own resources, GPUs and nodes", () => {
    const manifests = helm.manifests(LEAST, {
      expertDefaults: { threads: 6, nodeSelector: { disk: "fast" } },
      expertPools: [
        { name: "big", replicas: 2, gpus: 2, capacitySlots: 4608, nodeSelector: { gpu: "h200" }, image: "own/expert:cuda" },
        { name: "small", replicas: 5, tolerations: [{ key: "spot", operator: "Exists" }] },
      ],
    });
    const big = only(manifests, "StatefulSet", "-expert-big");
    const small = only(manifests, "StatefulSet", "-expert-small");
    expect([big.spec.replicas, small.spec.replicas]).toEqual([2, 5]);
    const [bigPod, smallPod] = podsOf([big, small]).map(({ pod }) => pod);
    expect(bigPod).toMatchObject({
      nodeSelector: { gpu: "h200" },
      containers: [{ image: "own/expert:cuda", resources: { limits: { "nvidia.com/gpu": 2 } } }],
    });
    expect(smallPod).toMatchObject({ nodeSelector: { disk: "fast" }, tolerations: [{ key: "spot" }] });
    expect(smallPod?.containers[0]?.resources.limits).not.toHaveProperty("nvidia.com/gpu");
    expect(smallPod?.["topologySpreadConstraints"]).toMatchObject([
      { labelSelector: { matchLabels: { "moiety.io/expert-pool": "small" } } },
    ]);
    expect(envOf(big)).toMatchObject({ MOIETY_CAPACITY_SLOTS: { value: "4608" }, MOIETY_THREADS: { value: "6" } });
    expect(envOf(only(manifests, "Deployment", "-router"))["MOIETY_MIN_EXPERT_WORKERS"]).toEqual({ value: "7" });
  });
});

describe.runIf(program !== undefined)("what holds the model", { timeout: 120_000 }, () => {
  const waitersOf = (manifests: readonly Manifest[]) =>
    podsOf(manifests).flatMap(({ owner, pod }) =>
      (pod.initContainers ?? []).map((init) => ({ name: owner.metadata.name, init })),
    );

  it("waits in an init container until a download is complete, and for no other source", () => {
    const manifests = helm.manifests(LEAST, DOWNLOAD);
    const waiters = waitersOf(manifests);
    expect(waiters.map(({ name }) => name).sort()).toEqual(HOLDERS);
    const job = manifests.find(({ kind }) => kind === "Job") as Manifest;
    const [command] = podsOf([job]).map(({ pod }) => pod.containers[0]?.["command"] as readonly string[]);
    for (const { init } of waiters) {
      expect(init["command"]).toEqual(["node", "-e"]);
      expect(init.volumeMounts).toEqual([{ name: "model", mountPath: "/model", readOnly: true }]);
      // The download's last word is named after its files.
      expect((init["args"] as readonly string[])[0]).toContain(`/model/.complete-${command?.at(-1)}`);
    }
    expect(waitersOf(helm.manifests(LEAST))).toEqual([]);
  });

  it("goes on when the file is there that the download ends with", () => {
    const [waiter] = waitersOf(helm.manifests(LEAST, DOWNLOAD));
    const [wait = ""] = (waiter?.init["args"] ?? []) as readonly string[];
    const folder = mkdtempSync(join(tmpdir(), "moiety-wait-"));
    try {
      const script = wait.replace("/model/", `${folder}/`);
      const run = () => spawnSync(process.execPath, ["-e", script], { timeout: 3_000 });
      expect(run().signal).toBe("SIGTERM");
      writeFileSync(join(folder, /\.complete-\w+/.exec(script)?.[0] ?? ""), "");
      expect(run()).toMatchObject({ status: 0, signal: null });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it.each<[string, object, object]>([
    [
      "a claim",
      { source: "persistentVolumeClaim", persistentVolumeClaim: { claimName: "own" }, subPath: "gpt" },
      { persistentVolumeClaim: { claimName: "own", readOnly: true } },
    ],
    [
      "a folder of the nodes",
      { source: "hostPath", hostPath: { path: "/srv/m" } },
      { hostPath: { path: "/srv/m", type: "Directory" } },
    ],
    [
      "an image",
      { source: "image", image: { reference: "r/m@sha256:0" } },
      { image: { reference: "r/m@sha256:0", pullPolicy: "IfNotPresent" } },
    ],
    ["a download", DOWNLOAD.model, { persistentVolumeClaim: { claimName: "demo-moiety-model", readOnly: true } }],
  ])("mounts %s read-only", (_, model, volume) => {
    const holders = podsOf(helm.manifests(LEAST, { model })).filter(({ owner }) => HOLDERS.includes(owner.metadata.name));
    expect(holders).toHaveLength(HOLDERS.length);
    for (const { pod } of holders) {
      expect(pod.volumes).toContainEqual({ name: "model", ...volume });
      const mount = { name: "model", mountPath: "/models/model", readOnly: true };
      const subPath = "subPath" in model ? { subPath: model.subPath } : {};
      expect(pod.containers[0]?.volumeMounts).toContainEqual({ ...mount, ...subPath });
    }
  });

  it("is a claim of the chart's for a download, which stays when the release goes", () => {
    const download = { files: [FILE], storage: "20Gi", storageClassName: "fast", accessMode: "ReadWriteOnce" };
    const claim = only(helm.manifests(LEAST, { model: { source: "download", download } }), "PersistentVolumeClaim", "-model");
    expect(claim.metadata).toMatchObject({ annotations: { "helm.sh/resource-policy": "keep" } });
    expect(claim.spec).toEqual({
      accessModes: ["ReadWriteOnce"],
      storageClassName: "fast",
      resources: { requests: { storage: "20Gi" } },
    });
  });

  it("begin another job when other files are to be loaded, and the same when nothing changed", () => {
    const nameOf = (path: string) => {
      const manifests = helm.manifests(LEAST, { model: { source: "download", download: { files: [{ ...FILE, path }] } } });
      return manifests.find(({ kind }) => kind === "Job")?.metadata.name;
    };
    expect(nameOf("a")).toBe(nameOf("a"));
    expect(nameOf("a")).not.toBe(nameOf("b"));
  });
});
