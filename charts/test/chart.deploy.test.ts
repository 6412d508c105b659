import { describe, expect, it } from "vitest";
import { instructionsFor, pairsOf, readDockerfile } from "../../deploy/test/dockerfile.js";
import { findProgram } from "../../deploy/test/program.js";
import { VARIABLES } from "../../deploy/test/repository.js";
import { Helm, type Manifest, podsOf, TEMPLATE } from "./helm.js";
import { FILE, LEAST, VALUE_SETS } from "./value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
const OURS = new Set(Object.keys(VARIABLES));

describe.runIf(program !== undefined).each(Object.entries(VALUE_SETS))("the chart with %s", (_, values) => {
  const manifests = program === undefined ? [] : helm.manifests(...values);
  const pods = podsOf(manifests);
  const containers = pods.flatMap(({ pod }) => [...(pod.initContainers ?? []), ...pod.containers]);

  it("names every object once, with the labels that are asked for", () => {
    const names = manifests.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { metadata } of manifests) {
      expect(metadata.name).toMatch(/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/);
      expect(metadata.labels).toMatchObject({ "app.kubernetes.io/name": "moiety", "app.kubernetes.io/instance": "demo" });
    }
  });

  it("selects pods by labels that they have", () => {
    const labels = manifests.map(({ spec }) => (spec?.template?.metadata?.labels ?? {}) as Record<string, string>);
    for (const { kind, metadata, spec } of manifests) {
      const selector = kind === "Service" ? spec.selector : kind === "NetworkPolicy" ? spec.podSelector.matchLabels : undefined;
      if (selector === undefined) continue;
      const matches = labels.filter((each) => Object.entries(selector).every(([key, value]) => each[key] === value));
      expect(matches, `${kind} ${metadata.name}`).not.toEqual([]);
    }
  });

  it("runs under the Pod Security standard `restricted`, but for a folder of the nodes", () => {
    for (const { pod } of pods) {
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      expect(pod.securityContext["runAsUser"]).toBeGreaterThan(0);
      expect(pod["automountServiceAccountToken"]).toBe(false);
      for (const key of ["hostNetwork", "hostPID", "hostIPC"]) expect(pod).not.toHaveProperty(key);
      for (const { name: _name, ...source } of pod.volumes)
        expect(["configMap", "emptyDir", "hostPath", "image", "persistentVolumeClaim", "secret"]).toContain(
          Object.keys(source)[0],
        );
    }
    for (const { securityContext } of containers)
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        runAsNonRoot: true,
        capabilities: { drop: ["ALL"] },
      });
  });

  it("asks for memory and processor, and limits memory", () => {
    for (const { name, resources } of containers) {
      expect(Object.keys(resources.requests ?? {}), name).toEqual(expect.arrayContaining(["cpu", "memory"]));
      expect(Object.keys(resources.limits ?? {}), name).toContain("memory");
    }
  });

  it("mounts volumes that the pod has, and the model so that nobody writes it", () => {
    for (const { owner, pod } of pods) {
      const claims = (owner.spec.volumeClaimTemplates ?? []) as readonly Manifest[];
      const names = [...pod.volumes.map(({ name }) => name), ...claims.map(({ metadata }) => metadata.name)];
      for (const { volumeMounts } of [...(pod.initContainers ?? []), ...pod.containers])
        for (const { name, mountPath, readOnly } of volumeMounts) {
          expect(names).toContain(name);
          if (mountPath === "/models/model") expect(readOnly).toBe(true);
        }
    }
  });

  it("sets only variables that the process reads, each once", () => {
    for (const { name, env = [] } of containers.filter((container) => OURS.has(container.name))) {
      const names = env.map((variable) => variable.name);
      expect(new Set(names).size).toBe(names.length);
      expect(VARIABLES[name]).toEqual(expect.arrayContaining(names.filter((variable) => variable !== "NODE_EXTRA_CA_CERTS")));
      for (const { value, valueFrom } of env) expect([typeof value, typeof valueFrom].sort()).toContain("undefined");
    }
  });

  it("uses the images, users, addresses and ports of the Dockerfile", () => {
    const dockerfile = readDockerfile("deploy/Dockerfile");
    for (const { pod } of pods)
      for (const { name, image, env = [], ports = [] } of pod.containers.filter((container) => OURS.has(container.name))) {
        expect(image).toMatch(new RegExp(`(^|/)moiety-${name}:0\\.1\\.0$`));
        const instructions = instructionsFor(dockerfile, name);
        const exposed = instructions.flatMap((each) => (each.name === "EXPOSE" ? each.text.split(" ").map(Number) : []));
        expect(ports.map(({ containerPort }) => containerPort).sort()).toEqual(exposed.sort());
        const ofImage = pairsOf(instructions, "ENV");
        for (const variable of ["MOIETY_HTTP_PORT", "MOIETY_HTTP_HOST", "MOIETY_LISTEN_ADDRESS", "MOIETY_MODEL"]) {
          const set = env.find((each) => each.name === variable)?.value;
          if (set !== undefined) expect(set).toBe(ofImage[variable]);
        }
        const users = instructions.flatMap((each) => (each.name === "USER" ? [each.text] : []));
        expect(`${pod.securityContext["runAsUser"]}:${pod.securityContext["runAsGroup"]}`).toBe(users.at(-1));
      }
  });

  it("probes what the processes answer, and leaves them the time that a drain takes", () => {
    for (const { owner, pod } of pods) {
      const [container] = pod.containers;
      if (container === undefined || !OURS.has(container.name)) continue;
      const http = (path: string) => ({ httpGet: { path, port: "http" } });
      expect(container, owner.metadata.name).toMatchObject({
        startupProbe: http("/health"),
        livenessProbe: http("/health"),
        readinessProbe: http("/ready"),
      });
      const msOf = (variable: string) => Number(container.env?.find(({ name }) => name === variable)?.value ?? 0);
      const leastMs = msOf("MOIETY_LAME_DUCK_MS") + msOf("MOIETY_DRAIN_TIMEOUT_MS");
      expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(leastMs / 1_000);
    }
  });

  it("gives every pod a policy that names who reaches it", () => {
    const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
    for (const { owner } of pods.filter(({ owner }) => owner.kind !== "Pod")) {
      const component = owner.spec.template.metadata.labels["app.kubernetes.io/component"];
      const of = policies.filter(
        ({ spec }) => spec.podSelector.matchLabels["app.kubernetes.io/component"] === component && spec.policyTypes.length === 2,
      );
      expect(of, component).toHaveLength(1);
      const open = (of[0]?.spec.ingress ?? []).filter(({ from }: { from?: object[] }) => from === undefined);
      if (component !== "gateway") expect(open).toEqual([]);
    }
  });
});

describe.runIf(program !== undefined)("a value", () => {
  it.each<[string, object, RegExp]>([
    ["of another type", { gateway: { replicas: "many" } }, /replicas.*integer/s],
    ["that nobody knows", { gateways: {} }, /gateways/],
    ["below its least", { startupTimeoutSeconds: 1 }, /startupTimeoutSeconds.*10/s],
    ["that is none of its set", { model: { source: "cloud" } }, /source/],
    ["of a pool that nobody knows", { expertPools: [{ name: "a", gpu: 1 }] }, /gpu/],
    ["that names a pool no name", { expertPools: [{ name: "Much_Too" }] }, /name/],
    ["twice a pool's name", { expertPools: [{ name: "a" }, { name: "a" }] }, /two pools are named "a"/],
    ["that sets what the chart sets", { gateway: { config: { MOIETY_HTTP_PORT: 80 } } }, /MOIETY_HTTP_PORT/],
    ["with pools and co-located experts", { colocated: true }, /expertPools must be \[\]/],
    ["without pools", { expertPools: [] }, /name at least one pool/],
    ["with TLS and no certificate", { tls: { enabled: true } }, /tls\.secretName/],
    ["without a Redis", { redis: { secretName: "" } }, /needs one Redis/],
    ["with two of Redis", { redisForTrials: { enabled: true } }, /a Redis of your own/],
    ["with more pods at least than at most", { gateway: { autoscaling: { minReplicas: 9 } } }, /minReplicas is above/],
    ["with KEDA and no Prometheus", { attention: { autoscaling: { kind: "keda" } } }, /prometheusUrl/],
    ["with a download of nothing", { model: { source: "download" } }, /download\.files is empty/],
    [
      "with a bucket and no key for it",
      { model: { source: "download", download: { files: [{ ...FILE, url: "s3://models/config.json" }] } } },
      /endpoint and secretName/,
    ],
    [
      "with a file that leaves the folder",
      { model: { source: "download", download: { files: [{ ...FILE, path: "../x" }] } } },
      /path/,
    ],
    ["with a hand-over longer than the drain", { expertPools: [{ name: "a", drainTimeoutSeconds: 5 }] }, /MOIETY_HAND_OVER_MS/],
    ["with steps shorter than sequences", { attention: { config: { MOIETY_STEP_TOKENS: 8 } } }, /MOIETY_STEP_TOKENS/],
    ["with an ingress of no host", { gateway: { ingress: { enabled: true } } }, /ingress\.hosts/],
  ])("%s is refused with a message", (_, values, message) => {
    const { status, stderr } = helm.run(TEMPLATE, LEAST, values);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(message);
  });
});
