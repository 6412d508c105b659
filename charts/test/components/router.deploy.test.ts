import { describe, expect, it } from "vitest";
import { findProgram } from "../../../deploy/test/program.js";
import { envOf, Helm, only } from "../helm.js";
import { LEAST } from "../value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");

describe.runIf(program !== undefined)("routers", { timeout: 120_000 }, () => {
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
});
