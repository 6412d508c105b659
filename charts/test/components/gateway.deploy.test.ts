import { describe, expect, it } from "vitest";
import { findProgram } from "../../../deploy/test/program.js";
import { envOf, Helm, type Manifest, only, podsOf } from "../helm.js";
import { LEAST } from "../value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
const fromSecret = (name: string, key: string) => ({ valueFrom: { secretKeyRef: { name, key } } });

describe.runIf(program !== undefined)("gateways", { timeout: 120_000 }, () => {
  const gatewayOf = (settings: object, ...more: readonly object[]): Manifest =>
    only(helm.manifests(LEAST, { gateway: settings }, ...more), "Deployment", "-gateway");

  /** Volumes and where the container mounts them, by name. */
  function volumesOf(gateway: Manifest) {
    const [pod] = podsOf([gateway]).map((each) => each.pod);
    const mounts = pod?.containers[0]?.volumeMounts ?? [];
    const volumes = (pod?.volumes ?? []).map(({ name, ...source }) => {
      const { name: _name, ...mount } = mounts.find((each) => each.name === name) ?? {};
      return [`${name}`, { ...source, mount }] as const;
    });
    return Object.fromEntries(volumes);
  }

  it("have no files, no keys and no Ingress unless asked for", () => {
    const manifests = helm.manifests(LEAST);
    const gateway = only(manifests, "Deployment", "-gateway");
    expect(Object.keys(envOf(gateway)).filter((name) => /KEY|FILES|JWT|OTLP|TLS/.test(name))).toEqual([]);
    expect(Object.keys(volumesOf(gateway)).sort()).toEqual(["model", "tmp"]);
    expect(manifests.filter(({ kind }) => kind === "Ingress")).toEqual([]);
  });

  it("keep files in a claim that they may write", () => {
    const gateway = gatewayOf({ files: { source: "persistentVolumeClaim", persistentVolumeClaim: { claimName: "own-files" } } });
    const { MOIETY_FILES_DIR: folder, ...rest } = envOf(gateway);
    expect(Object.keys(rest).filter((name) => name.startsWith("MOIETY_FILES_"))).toEqual([]);
    expect(volumesOf(gateway)["files"]).toEqual({
      persistentVolumeClaim: { claimName: "own-files" },
      mount: { mountPath: folder?.value },
    });
  });

  it("keep files in a bucket, with an access key or unsigned", () => {
    const s3 = { url: "https://s3.example.org/files", region: "eu-1", secretName: "own-s3", keyIdKey: "id", secretKey: "s" };
    expect(envOf(gatewayOf({ files: { source: "s3", s3 } }))).toMatchObject({
      MOIETY_FILES_S3_URL: { value: s3.url },
      MOIETY_FILES_S3_REGION: { value: "eu-1" },
      MOIETY_FILES_S3_KEY_ID: fromSecret("own-s3", "id"),
      MOIETY_FILES_S3_SECRET: fromSecret("own-s3", "s"),
    });
    const unsigned = envOf(gatewayOf({ files: { source: "s3", s3: { url: s3.url } } }));
    expect(Object.keys(unsigned).filter((name) => name.startsWith("MOIETY_FILES_"))).toEqual([
      "MOIETY_FILES_S3_URL",
      "MOIETY_FILES_S3_REGION",
    ]);
  });

  it.each([
    ["apiKeys", "MOIETY_API_KEYS_FILE", "api-keys"],
    ["adminKey", "MOIETY_ADMIN_KEY_FILE", "admin-key"],
  ])("read %s from one key of a secret, as a file that the group of the process alone may read", (value, variable, volume) => {
    const gateway = gatewayOf({ [value]: { secretName: "own-secret", secretKey: "the-key" } });
    const { mount, secret } = volumesOf(gateway)[volume] as {
      readonly mount: { readonly mountPath: string };
      readonly secret: { readonly items: readonly { readonly key: string; readonly path: string }[] };
    };
    const path = secret.items[0]?.path ?? "";
    expect(secret).toEqual({ secretName: "own-secret", defaultMode: 0o440, items: [{ key: "the-key", path }] });
    expect(mount).toEqual({ mountPath: expect.stringMatching(/^\/etc\/moiety\//), readOnly: true });
    expect(envOf(gateway)[variable]).toEqual({ value: `${mount.mountPath}/${path}` });
  });

  it("answer for each host and path of an Ingress, by the name of the service's port", () => {
    const ingress = {
      enabled: true,
      className: "nginx",
      annotations: { "nginx.ingress.kubernetes.io/proxy-buffering": "off" },
      hosts: ["a.example.org", "b.example.org"],
      paths: ["/v1", "/tokenize"],
      tls: [{ hosts: ["a.example.org"], secretName: "a-tls" }],
    };
    const manifests = helm.manifests(LEAST, { gateway: { ingress, service: { port: 8000 } } });
    const { metadata, spec } = only(manifests, "Ingress", "-gateway");
    const service = only(manifests, "Service", "-gateway");
    const backend = { service: { name: service.metadata.name, port: { name: service.spec.ports[0].name } } };
    const paths = ingress.paths.map((path) => ({ path, pathType: "Prefix", backend }));
    expect(metadata).toMatchObject({ annotations: ingress.annotations });
    expect(spec).toEqual({
      ingressClassName: "nginx",
      tls: ingress.tls,
      rules: ingress.hosts.map((host) => ({ host, http: { paths } })),
    });
  });

  it("are given nothing of /metrics, /admin and probes by an Ingress of no other paths", () => {
    const manifests = helm.manifests(LEAST, { gateway: { ingress: { enabled: true, hosts: ["a.example.org"] } } });
    const { spec } = only(manifests, "Ingress", "-gateway");
    expect(spec.rules[0].http.paths.map(({ path }: { path: string }) => path)).toEqual(["/v1"]);
    expect(Object.keys(spec)).toEqual(["rules"]);
  });

  it("serve on as lame ducks for a while after SIGTERM, before which nothing sleeps, and are killed after that and the drain", () => {
    const gateway = gatewayOf({ lameDuckSeconds: 7, drainTimeoutSeconds: 90 });
    expect(envOf(gateway)).toMatchObject({
      MOIETY_LAME_DUCK_MS: { value: "7000" },
      MOIETY_DRAIN_TIMEOUT_MS: { value: "90000" },
    });
    const [pod] = podsOf([gateway]).map((each) => each.pod);
    expect(pod?.terminationGracePeriodSeconds).toBe(7 + 90 + 10);
    expect(pod?.containers[0]).not.toHaveProperty("lifecycle");
    expect(gateway.spec.strategy).toEqual({ type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
  });

  it("are one service, and a name that stands for each of them", () => {
    const annotations = { "service.example.org/kind": "internal" };
    const service = { type: "LoadBalancer", port: 8000, annotations };
    const manifests = helm.manifests(LEAST, { gateway: { service } });
    const one = only(manifests, "Service", "-gateway");
    expect(one.metadata).toMatchObject({ annotations });
    expect(one.spec).toMatchObject({ type: "LoadBalancer", ports: [{ name: "http", port: 8000, targetPort: "http" }] });
    const each = only(manifests, "Service", "-gateways");
    expect(each.spec).toMatchObject({ clusterIP: "None", publishNotReadyAddresses: true, selector: one.spec.selector });
  });

  it("take variables as Kubernetes writes them, and send traces where they are told", () => {
    const extraEnv = [{ name: "HTTPS_PROXY", valueFrom: { secretKeyRef: { name: "proxy", key: "url" } } }];
    const url = "http://collector.observability:4318";
    const gateway = gatewayOf({ extraEnv, config: { MOIETY_LIMIT_TOKENS_PER_DAY: 1e9 } }, { monitoring: { tracesUrl: url } });
    expect(envOf(gateway)).toMatchObject({
      HTTPS_PROXY: fromSecret("proxy", "url"),
      MOIETY_OTLP_ENDPOINT: { value: url },
      MOIETY_LIMIT_TOKENS_PER_DAY: { value: "1000000000" },
    });
  });

  it("write large numbers as the processes read them", () => {
    const manifests = helm.manifests(LEAST, { gateway: { config: { MOIETY_MAX_FILES_BYTES: 1_099_511_627_776 } } });
    const env = envOf(only(manifests, "Deployment", "-gateway"));
    expect(env["MOIETY_MAX_FILES_BYTES"]).toEqual({ value: "1099511627776" });
  });
});
