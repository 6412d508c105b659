import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { findProgram } from "../../../deploy/test/program.js";
import { CHART, COMPONENT, envOf, Helm, type Manifest, only, podsOf } from "../helm.js";
import { LEAST } from "../value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
const ofKind = (manifests: readonly Manifest[], wanted: string) => manifests.filter(({ kind }) => kind === wanted);
const fileOf = (path: string) => readFileSync(join(CHART, path), "utf8");

interface RenderedRule {
  readonly alert?: string;
  readonly annotations?: { readonly runbook_url?: string };
}

describe.runIf(program !== undefined)("certificates", { timeout: 120_000 }, () => {
  const issued = { tls: { enabled: true, certManager: { enabled: true, issuerName: "inner" } } };

  it("come from the issuer, with the name that all processes ask for, in the secret that all mount", () => {
    const manifests = helm.manifests(LEAST, issued);
    const { spec } = only(manifests, "Certificate", "demo-moiety");
    expect(spec).toEqual({
      secretName: "demo-moiety-tls",
      commonName: "demo-moiety",
      dnsNames: ["demo-moiety-router"],
      duration: "2160h",
      renewBefore: "720h",
      // Each process serves and calls.
      usages: ["server auth", "client auth"],
      privateKey: { algorithm: "ECDSA", rotationPolicy: "Always" },
      issuerRef: { group: "cert-manager.io", kind: "Issuer", name: "inner" },
    });
    for (const [kind, name] of [
      ["Deployment", "-router"],
      ["Deployment", "-attention-worker"],
      ["StatefulSet", "-expert-main"],
    ] as const) {
      const process = only(manifests, kind, name);
      expect(envOf(process)["MOIETY_TLS_SERVER_NAME"]).toEqual({ value: spec.dnsNames[0] });
      const pod = podsOf([process])[0]?.pod;
      expect(pod?.volumes).toContainEqual({ name: "tls", secret: { secretName: spec.secretName, defaultMode: 0o440 } });
      // A folder: files mounted one by one would not change when the certificate does.
      expect(pod?.containers[0]?.volumeMounts).toContainEqual({ name: "tls", mountPath: "/etc/moiety/tls", readOnly: true });
      for (const [variable, file] of [
        ["CA", "ca.crt"],
        ["CERT", "tls.crt"],
        ["KEY", "tls.key"],
      ])
        expect(envOf(process)[`MOIETY_TLS_${variable}`]).toEqual({ value: `/etc/moiety/tls/${file}` });
    }
    expect(Object.keys(envOf(only(manifests, "Deployment", "-gateway"))).filter((name) => /TLS/.test(name))).toEqual([]);
  });

  it("have the names, times and issuer that are given", () => {
    const certManager = { enabled: true, issuerName: "all", issuerKind: "ClusterIssuer", duration: "48h", renewBefore: "24h" };
    const tls = { enabled: true, secretName: "own-tls", serverName: "moiety.internal", certManager };
    const manifests = helm.manifests(LEAST, { tls });
    const { spec } = only(manifests, "Certificate", "demo-moiety");
    expect(spec).toMatchObject({
      secretName: "own-tls",
      dnsNames: ["moiety.internal"],
      duration: "48h",
      renewBefore: "24h",
      issuerRef: { kind: "ClusterIssuer", name: "all" },
    });
    const router = only(manifests, "Deployment", "-router");
    expect(envOf(router)["MOIETY_TLS_SERVER_NAME"]).toEqual({ value: "moiety.internal" });
  });

  it("are not asked for when the secret is your own, or TLS is off", () => {
    const own = helm.manifests(LEAST, { tls: { enabled: true, secretName: "own-tls" } });
    const off = helm.manifests(LEAST, { tls: { ...issued.tls, enabled: false } });
    for (const manifests of [own, off]) expect(ofKind(manifests, "Certificate")).toEqual([]);
    expect(JSON.stringify(off)).not.toContain("MOIETY_TLS_");
  });
});

describe.runIf(program !== undefined)("disruption budgets", { timeout: 120_000 }, () => {
  const budgetsOf = (...values: readonly object[]) =>
    Object.fromEntries(
      ofKind(helm.manifests(LEAST, ...values), "PodDisruptionBudget").map(({ metadata, spec }) => [
        metadata.name.replace("demo-moiety-", ""),
        spec.maxUnavailable,
      ]),
    );

  it("limit each component as the values say, expert workers over all pools", () => {
    const podDisruptionBudgets = { gatewayMaxUnavailable: 2, attentionMaxUnavailable: 0, expertMaxUnavailable: 3 };
    expect(budgetsOf({ podDisruptionBudgets, expertPools: [{ name: "a" }, { name: "b" }] })).toEqual({
      gateway: 2,
      "attention-worker": 0,
      router: 1,
      "expert-worker": 3,
    });
    const manifests = helm.manifests(LEAST, { expertPools: [{ name: "a" }, { name: "b" }] });
    const { matchLabels } = only(manifests, "PodDisruptionBudget", "-expert-worker").spec.selector;
    expect(matchLabels).toMatchObject({ [COMPONENT]: "expert-worker" });
    expect(matchLabels).not.toHaveProperty("moiety.io/expert-pool");
  });

  it("are none for a single router, for what is not there, and where they are off", () => {
    expect(Object.keys(budgetsOf({ router: { replicas: 1 } }))).not.toContain("router");
    expect(Object.keys(budgetsOf({ colocated: true, expertPools: [] })).sort()).toEqual(["attention-worker", "gateway"]);
    expect(budgetsOf({ podDisruptionBudgets: { enabled: false } })).toEqual({});
  });
});

describe.runIf(program !== undefined)("monitoring", { timeout: 120_000 }, () => {
  it("is nobody's unless asked for", () => {
    const kinds = new Set(helm.manifests(LEAST).map(({ kind }) => kind));
    for (const kind of ["PodMonitor", "PrometheusRule"]) expect(kinds).not.toContain(kind);
  });

  it("scrapes the port of every process of the release, and of nothing else, with the processes' own labels", () => {
    const monitoring = { podMonitor: true, interval: "7s", labels: { release: "prometheus" } };
    const manifests = helm.manifests({ redisForTrials: { enabled: true } }, { monitoring });
    for (const [name, port] of [
      ["-gateway", "metrics"],
      ["-workers", "http"],
    ] as const) {
      const { metadata, spec } = only(manifests, "PodMonitor", name);
      expect(metadata.labels).toMatchObject({ release: "prometheus" });
      expect(spec.podMetricsEndpoints).toEqual([{ port, path: "/metrics", interval: "7s", honorLabels: true }]);
      const { matchLabels, matchExpressions } = spec.selector;
      const [{ key, operator, values }] = matchExpressions;
      expect([key, operator]).toEqual([COMPONENT, "In"]);
      for (const { owner, pod } of podsOf(manifests)) {
        const labels = (owner.spec.template?.metadata.labels ?? owner.metadata.labels) as Record<string, string>;
        expect(labels).toMatchObject(matchLabels);
        const ports = pod.containers.flatMap(({ ports = [] }) => ports.map((each) => each.name));
        const isScraped = ports.includes("metrics") ? port === "metrics" : port === "http" && ports.includes("http");
        expect(values.includes(labels[key]), `${owner.metadata.name} by ${name}`).toBe(isScraped);
      }
    }
  });

  it("brings the rules and alerts of the repository, all of them", () => {
    const manifests = helm.manifests(LEAST, { monitoring: { rules: true, labels: { release: "prometheus" } } });
    const { metadata, spec } = only(manifests, "PrometheusRule", "demo-moiety");
    expect(metadata.labels).toMatchObject({ release: "prometheus" });
    const rulesOf = (groups: readonly { readonly name: string; readonly rules: readonly { readonly expr: string }[] }[]) =>
      groups.map(({ name, rules }) => [name, rules.map(({ expr }) => `${expr}`.trim())]);
    const { groups } = parse(fileOf("files/rules/moiety.yaml"));
    expect(rulesOf(spec.groups)).toEqual(rulesOf(groups));
  });

  it("brings every dashboard as it is, with the labels that Grafana's sidecar looks for", () => {
    const monitoring = { dashboards: true, dashboardLabels: { grafana_dashboard: "yes" } };
    const maps = ofKind(helm.manifests(LEAST, { monitoring }), "ConfigMap").filter(({ metadata }) =>
      metadata.name.includes("-dashboard-"),
    );
    const boards = Object.assign({}, ...maps.map(({ data }) => data)) as Record<string, string>;
    const names = ["moiety-capacity.json", "moiety-experts.json", "moiety-service.json", "moiety-tenants.json"];
    expect(Object.keys(boards).sort()).toEqual(expect.arrayContaining(names));
    expect(Object.keys(boards)).toHaveLength(maps.length);
    for (const { metadata } of maps) expect(metadata.labels).toMatchObject({ grafana_dashboard: "yes" });
    for (const [name, text] of Object.entries(boards))
      expect(JSON.parse(text)).toEqual(JSON.parse(fileOf(`files/dashboards/${name}`)));
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
});

describe.runIf(program !== undefined)("Redis", { timeout: 120_000 }, () => {
  it("has its URL and certificate authority in secrets", () => {
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
  ])("is reached by what needs it alone: %s", (_, replicas, components) => {
    const manifests = helm.manifests({ redisForTrials: { enabled: true }, router: { replicas } });
    const { spec } = only(manifests, "NetworkPolicy", "-redis-for-trials");
    const peers = spec.ingress[0].from.map((peer: { podSelector: { matchLabels: Record<string, string> } }) => {
      return peer.podSelector.matchLabels[COMPONENT];
    });
    expect(peers).toEqual(components);
  });
});

describe.runIf(program !== undefined)("the service account", { timeout: 120_000 }, () => {
  it("is one of the release, another that is named, or the default, and gives no pod a token", () => {
    const accountsOf = (serviceAccount: object) => {
      const manifests = helm.manifests(LEAST, { serviceAccount });
      const used = new Set(podsOf(manifests).map(({ pod }) => pod["serviceAccountName"]));
      expect(podsOf(manifests).every(({ pod }) => pod["automountServiceAccountToken"] === false)).toBe(true);
      return { made: ofKind(manifests, "ServiceAccount").map(({ metadata }) => metadata.name), used: [...used] };
    };
    expect(accountsOf({})).toEqual({ made: ["demo-moiety"], used: ["demo-moiety"] });
    expect(accountsOf({ name: "own" })).toEqual({ made: ["own"], used: ["own"] });
    expect(accountsOf({ create: false, name: "own" })).toEqual({ made: [], used: ["own"] });
    expect(accountsOf({ create: false })).toEqual({ made: [], used: ["default"] });
  });
});
