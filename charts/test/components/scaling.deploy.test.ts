import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findProgram } from "../../../deploy/test/program.js";
import { CHART, envOf, Helm, type Manifest, only, TEMPLATE } from "../helm.js";
import { LEAST } from "../value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
const PROMETHEUS = { monitoring: { prometheusUrl: "http://prometheus:9090" } };

interface Trigger {
  readonly type: string;
  readonly metricType: string;
  readonly metadata: {
    readonly query: string;
    readonly threshold: string;
    readonly value: string;
    readonly serverAddress: string;
  };
}

/** What a ScaledObject asks Prometheus, by the first metric of each query. */
function queriesOf(scaled: Manifest): Readonly<Record<string, Trigger["metadata"]>> {
  const triggers = (scaled.spec.triggers as readonly Trigger[]).filter(({ type }) => type === "prometheus");
  for (const { metricType } of triggers) expect(metricType).toBe("AverageValue");
  return Object.fromEntries(triggers.map(({ metadata }) => [/moiety_\w+/.exec(metadata.query)?.[0], metadata]));
}

describe.runIf(program !== undefined)("scaling", { timeout: 120_000 }, () => {
  const metrics = readFileSync(join(CHART, "../../docs/metrics.md"), "utf8");
  const scaledOf = (manifests: readonly Manifest[]) =>
    manifests.filter(({ kind }) => kind === "ScaledObject" || kind === "HorizontalPodAutoscaler");

  it("is off unless asked for: replicas say how many", () => {
    const manifests = helm.manifests(LEAST, { gateway: { replicas: 4 } });
    expect(scaledOf(manifests)).toEqual([]);
    expect(only(manifests, "Deployment", "-gateway").spec.replicas).toBe(4);
  });

  it("by KEDA goes by in-flight requests, queue, waiting tokens, and queued expert calls, which the processes count", () => {
    const manifests = helm.manifests("values-prod.yaml", "values-keda.yaml");
    const scaled = scaledOf(manifests);
    const asked = Object.fromEntries(scaled.map((each) => [each.metadata.name, Object.keys(queriesOf(each))]));
    const calls = ["moiety_expert_queued_calls"];
    expect(asked).toEqual({
      "demo-moiety-gateway": ["moiety_gateway_in_flight", "moiety_queue_requests", "moiety_gateway_waiting_tokens"],
      "demo-moiety-attention-worker": ["moiety_queue_requests", "moiety_gateway_waiting_tokens"],
      "demo-moiety-expert-large": calls,
      "demo-moiety-expert-small": calls,
    });
    for (const each of scaled) {
      const { scaleTargetRef, minReplicaCount, maxReplicaCount, fallback } = each.spec;
      expect(scaleTargetRef.name).toBe(each.metadata.name);
      expect(only(manifests, scaleTargetRef.kind, scaleTargetRef.name).spec).not.toHaveProperty("replicas");
      expect(minReplicaCount).toBeLessThan(maxReplicaCount);
      expect(fallback).toEqual({ failureThreshold: 3, replicas: minReplicaCount, behavior: "currentReplicasIfHigher" });
      for (const [metric, { threshold, serverAddress }] of Object.entries(queriesOf(each))) {
        expect(metrics).toContain(`\`${metric}\``);
        expect(Number(threshold)).toBeGreaterThan(0);
        expect(serverAddress).toBe("http://prometheus-operated.monitoring:9090");
      }
    }
  });

  it("by KEDA counts series of this release, and a pool those of its own pods", () => {
    const pools = { expertPools: [{ name: "a" }, { name: "a-1", autoscaling: { threshold: 0.5 } }] };
    const manifests = helm.manifests(LEAST, PROMETHEUS, pools, {
      gateway: { autoscaling: { kind: "keda", tokensQuery: "", queueThreshold: 7 } },
      expertDefaults: { autoscaling: { kind: "keda" } },
    });
    const gateway = queriesOf(only(manifests, "ScaledObject", "-gateway"));
    expect(gateway).toMatchObject({
      moiety_gateway_in_flight: {
        query: 'sum(moiety_gateway_in_flight{namespace="llm",pod=~"demo-moiety-.+"})',
        threshold: "200",
      },
      moiety_queue_requests: { threshold: "7" },
    });
    expect(gateway).not.toHaveProperty("moiety_gateway_waiting_tokens");
    const seriesOf = (pool: string) => {
      const { query, threshold } =
        queriesOf(only(manifests, "ScaledObject", `-expert-${pool}`))["moiety_expert_queued_calls"] ?? {};
      const [, pods = ""] = /\{namespace="llm",pod=~"([^"]+)"\}/.exec(query ?? "") ?? [];
      // Prometheus' matchers are anchored.
      const matches = ["demo-moiety-expert-a-0", "demo-moiety-expert-a-1-0"].map((pod) => new RegExp(`^(?:${pods})$`).test(pod));
      return { matches, threshold };
    };
    expect(seriesOf("a")).toEqual({ matches: [true, false], threshold: "4" });
    expect(seriesOf("a-1")).toEqual({ matches: [false, true], threshold: "0.5" });
  });

  it.each(["hpa", "keda"])("of expert pools by %s is slow, and looks at the processor", (kind) => {
    const manifests = helm.manifests(LEAST, PROMETHEUS, {
      router: { config: { MOIETY_REPLICAS: 2 } },
      expertDefaults: { autoscaling: { kind, minReplicas: 3, maxReplicas: 5 } },
      expertPools: [
        { name: "main", autoscaling: { targetCPUUtilizationPercentage: 65 } },
        { name: "fixed", autoscaling: { kind: "none" } },
      ],
    });
    expect(scaledOf(manifests)).toHaveLength(1);
    const { spec } = scaledOf(manifests)[0] ?? {};
    expect(spec.scaleTargetRef).toEqual({ apiVersion: "apps/v1", kind: "StatefulSet", name: "demo-moiety-expert-main" });
    const behavior = kind === "hpa" ? spec.behavior : spec.advanced.horizontalPodAutoscalerConfig.behavior;
    expect(behavior).toEqual({
      scaleUp: { stabilizationWindowSeconds: 300 },
      scaleDown: { stabilizationWindowSeconds: 1800, policies: [{ type: "Pods", value: 1, periodSeconds: 600 }] },
    });
    const cpu = { name: "cpu", target: { type: "Utilization", averageUtilization: 65 } };
    if (kind === "hpa")
      expect(spec).toMatchObject({ minReplicas: 3, maxReplicas: 5, metrics: [{ type: "Resource", resource: cpu }] });
    else {
      expect(spec).toMatchObject({ minReplicaCount: 3, maxReplicaCount: 5 });
      expect(spec.triggers).toContainEqual({ type: "cpu", metricType: "Utilization", metadata: { value: "65" } });
    }
    expect(only(manifests, "StatefulSet", "-expert-main").spec).not.toHaveProperty("replicas");
    expect(only(manifests, "StatefulSet", "-expert-fixed").spec.replicas).toBe(2);
    // The first placement waits for the least of a pool that is scaled.
    expect(envOf(only(manifests, "Deployment", "-router"))["MOIETY_MIN_EXPERT_WORKERS"]).toEqual({ value: "5" });
  });

  it("of gateways by a HorizontalPodAutoscaler looks at the processor, or at metrics that are given", () => {
    const metric = { type: "Pods", pods: { metric: { name: "in_flight" }, target: { type: "AverageValue", averageValue: 9 } } };
    const of = (autoscaling: object) => helm.manifests(LEAST, { gateway: { autoscaling: { kind: "hpa", ...autoscaling } } });
    const { spec } = only(of({ maxReplicas: 9 }), "HorizontalPodAutoscaler", "-gateway");
    expect(spec).toMatchObject({
      scaleTargetRef: { kind: "Deployment", name: "demo-moiety-gateway" },
      minReplicas: 2,
      maxReplicas: 9,
    });
    expect(spec.metrics[0].resource.target.averageUtilization).toBe(70);
    expect(only(of({ metrics: [metric] }), "HorizontalPodAutoscaler", "-gateway").spec.metrics).toEqual([metric]);
  });

  it("of a pool by KEDA without a Prometheus is refused", () => {
    const { status, stderr } = helm.run(TEMPLATE, LEAST, {
      expertPools: [{ name: "main", autoscaling: { kind: "keda" } }],
    });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/expertPools: main: .*prometheusUrl/);
  });
});
