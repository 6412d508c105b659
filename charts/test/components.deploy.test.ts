import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CHART, envOf, findTool, Helm, only, podsOf } from "./helm.js";
import { FILE, LEAST } from "./value-sets.js";

const program = findTool("helm");
const helm = new Helm(program ?? "helm");

interface RenderedRule {
  readonly alert?: string;
  readonly annotations?: { readonly runbook_url?: string };
}

describe.runIf(program !== undefined)("the parts of a cluster", () => {
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

  it("have the gateways' metrics on a port that no service carries, and let Prometheus ask each pod where its are", () => {
    const from = [{ namespaceSelector: { matchLabels: { name: "monitoring" } } }];
    const manifests = helm.manifests(LEAST, { monitoring: { podMonitor: true }, networkPolicy: { metricsFrom: from } });
    const gateway = only(manifests, "Deployment", "-gateway");
    const named = (podsOf([gateway])[0]?.pod.containers[0]?.ports ?? []).map(({ name, containerPort }) => [name, containerPort]);
    expect(named).toContainEqual(["metrics", Number(envOf(gateway)["MOIETY_METRICS_PORT"]?.["value"])]);
    expect(only(manifests, "Service", "-gateway").spec.ports).toMatchObject([{ targetPort: "http" }]);
    const asked = manifests
      .filter(({ kind }) => kind === "PodMonitor")
      .flatMap(({ spec }) =>
        spec.selector.matchExpressions[0].values.map((value: string) => [value, spec.podMetricsEndpoints[0].port]),
      );
    expect(Object.fromEntries(asked)).toEqual({
      gateway: "metrics",
      router: "http",
      "attention-worker": "http",
      "expert-worker": "http",
    });
    for (const [component, port] of asked) {
      const rules = only(manifests, "NetworkPolicy", `moiety-${component}`).spec.ingress;
      expect(rules, component).toContainEqual({ from, ports: [{ protocol: "TCP", port }] });
    }
  });

  it("write large numbers as the processes read them", () => {
    const manifests = helm.manifests(LEAST, { gateway: { config: { MOIETY_MAX_FILES_BYTES: 1_099_511_627_776 } } });
    const env = envOf(only(manifests, "Deployment", "-gateway"));
    expect(env["MOIETY_MAX_FILES_BYTES"]).toEqual({ value: "1099511627776" });
  });

  it("take Redis' URL and certificate authority from secrets", () => {
    const manifests = helm.manifests({ redis: { secretName: "own", secretKey: "u", caSecretName: "ca" } });
    for (const name of ["-gateway", "-attention-worker", "-router"])
      expect(envOf(only(manifests, "Deployment", name))).toMatchObject({
        MOIETY_REDIS_URL: { valueFrom: { secretKeyRef: { name: "own", key: "u" } } },
        NODE_EXTRA_CA_CERTS: { value: "/etc/moiety/redis-ca/ca.crt" },
      });
  });

  it.each([
    ["one router", 1, ["gateway", "attention-worker"]],
    ["two routers", 2, ["gateway", "attention-worker", "router"]],
  ])("let only what needs it reach Redis: %s", (_, replicas, components) => {
    const manifests = helm.manifests({ redisForTrials: { enabled: true }, router: { replicas } });
    const { spec } = only(manifests, "NetworkPolicy", "-redis-for-trials");
    const peers = spec.ingress[0].from.map((peer: { podSelector: { matchLabels: Record<string, string> } }) => {
      return peer.podSelector.matchLabels["app.kubernetes.io/component"];
    });
    expect(peers).toEqual(components);
  });

  it("are two routers with a lease, whose addresses one name stands for, or one without", () => {
    const manifests = helm.manifests(LEAST);
    const routers = only(manifests, "Deployment", "-router");
    expect(routers.spec).toMatchObject({
      replicas: 2,
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: { spec: { topologySpreadConstraints: [{ topologyKey: "kubernetes.io/hostname" }] } },
    });
    expect(envOf(routers)).toMatchObject({
      MOIETY_ROUTER_LEASE_MS: { value: "1500" },
      MOIETY_REDIS_URL: { valueFrom: { secretKeyRef: { name: "own-redis" } } },
    });
    const service = only(manifests, "Service", "-router");
    expect(service.spec).toMatchObject({ clusterIP: "None", publishNotReadyAddresses: true });
    const address = { MOIETY_ROUTER_ADDRESS: { value: `${service.metadata.name}:${service.spec.ports[0].port}` } };
    for (const [kind, name] of [
      ["Deployment", "-attention-worker"],
      ["StatefulSet", "-expert-main"],
    ] as const)
      expect(envOf(only(manifests, kind, name))).toMatchObject(address);
    expect(only(manifests, "PodDisruptionBudget", "-router").spec.maxUnavailable).toBe(1);
    const alone = helm.manifests(LEAST, { router: { replicas: 1 } });
    const router = only(alone, "Deployment", "-router");
    expect(router.spec.strategy).toEqual({ type: "Recreate" });
    expect(envOf(router)).not.toHaveProperty("MOIETY_ROUTER_LEASE_MS");
    expect(envOf(router)).not.toHaveProperty("MOIETY_REDIS_URL");
    expect(only(alone, "NetworkPolicy", "-router").spec.egress).toEqual([]);
  });

  it("have alerts whose runbooks are files of this repository, as links to where a company keeps it", () => {
    const runbooks = (monitoring: object) => {
      const { spec } = only(helm.manifests(LEAST, { monitoring: { rules: true, ...monitoring } }), "PrometheusRule", "");
      const rules: readonly RenderedRule[] = spec.groups.flatMap((group: { rules: readonly RenderedRule[] }) => group.rules);
      return rules.flatMap(({ alert, annotations }) => (alert === undefined ? [] : [annotations?.runbook_url ?? ""]));
    };
    const paths = runbooks({});
    expect(paths).not.toEqual([]);
    for (const path of paths) expect(existsSync(join(CHART, "../..", path)), path).toBe(true);
    for (const runbooksUrl of ["https://git.example.org/moiety", "https://git.example.org/moiety/"])
      expect(runbooks({ runbooksUrl })).toEqual(paths.map((path) => `https://git.example.org/moiety/${path}`));
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
