import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { hasOpenssl, makeCertificates, waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram } from "../../deploy/test/program.js";
import { preparedK6, whyNoK6 } from "../../load-tests/k6-program.mjs";
import { bytesOf, Helm, podsOf } from "./helm.js";
import { callGrpc } from "./layout/grpc-call.js";
import { probe } from "./layout/kubelet.js";
import { LocalPods } from "./layout/local-pods.js";
import { REDIS_HOST, type SecuredRedis, startSecuredRedis } from "./layout/secured-redis.js";

const PATIENCE_MS = 240_000;
const KEY = "key-of-the-layout-test";
const RUN_LOAD = fileURLToPath(new URL("../../load-tests/run.mjs", import.meta.url));
/** What an installation for users has, small: two of everything but four expert workers, in pools of two sizes. */
const VALUES = {
  model: { name: "moiety-tiny", activation: "f32" },
  redis: { secretName: "own-redis", caSecretName: "own-redis-ca" },
  tls: { enabled: true, secretName: "own-tls" },
  gateway: {
    replicas: 2,
    apiKeys: { secretName: "own-keys" },
    service: { port: 8000 },
    lameDuckSeconds: 2,
    drainTimeoutSeconds: 60,
  },
  router: { replicas: 2, config: { MOIETY_REPLICAS: 2 } },
  attention: { replicas: 2, threads: 1 },
  expertDefaults: { threads: 1 },
  expertPools: [
    { name: "large", replicas: 2 },
    { name: "small", replicas: 2, capacitySlots: 96 },
  ],
  helmTest: { secretName: "own-test-key" },
};
/** What needs no key: probes, metrics, how much is being served. */
const OPEN_PATHS = ["/health", "/load", "/metrics", "/ready"];
const program = findProgram("helm");
const isAsked = process.env["npm_lifecycle_event"] === "test:deploy" || process.env["MOIETY_K6"] !== undefined;
// Addresses other than 127.0.0.1 belong to the loopback interface on Linux alone. k6 is built where there is none: minutes, once.
const canRun =
  program !== undefined && process.platform === "linux" && hasOpenssl() && (isAsked ? whyNoK6() === undefined : false);

describe.runIf(canRun)("a release for users, as processes of this machine", () => {
  const folder = mkdtempSync(join(tmpdir(), "moiety-layout-"));
  const manifests = program !== undefined && canRun ? new Helm(program).manifests(VALUES) : [];
  let redis: SecuredRedis;
  let certificates: string;
  let local: LocalPods;

  beforeAll(async () => {
    const k6 = await preparedK6();
    const redisAddress = `127.${randomInt(16, 60)}.${randomInt(1, 250)}.1`;
    redis = await startSecuredRedis(join(folder, "redis"), redisAddress);
    // All processes bear one name, as the chart tells them.
    certificates = makeCertificates(join(folder, "tls"), "DNS:demo-moiety-router");
    const pem = (name: string) => readFileSync(join(certificates, name), "utf8");
    local = new LocalPods({
      manifests,
      hosts: { [REDIS_HOST]: redisAddress },
      programs: { k6 },
      secrets: {
        "own-redis": { url: redis.url },
        "own-redis-ca": { "ca.crt": redis.ca },
        "own-tls": { "ca.crt": pem("ca.crt"), "tls.crt": pem("tls.crt"), "tls.key": pem("tls.key") },
        "own-keys": { keys: `layout:${KEY}\n` },
        "own-test-key": { key: KEY },
      },
    });
    await local.start();
    await Promise.all(local.pods.map((pod) => pod.waitReady()));
  }, 4 * PATIENCE_MS);

  afterAll(async () => {
    await local?.close();
    await redis?.process.kill();
    rmSync(folder, { recursive: true, force: true });
  }, PATIENCE_MS);

  /** Runs `npm run load -- ...` on the gateways' service. */
  async function load(...given: readonly string[]): Promise<{ code: number | null; text: string }> {
    const child = spawn(process.execPath, [RUN_LOAD, ...given, "--url", local.url, "--key", KEY]);
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
    const [code] = (await once(child, "close")) as [number | null];
    return { code, text };
  }

  it("has two gateways, two routers, two attention workers and four expert workers, which pass all probes", async () => {
    const names = local.pods.map(({ container }) => container.name).sort();
    const two = (name: string) => [name, name];
    expect(names).toEqual(
      ["attention-worker", "expert-worker", "gateway", "router"].flatMap((name) => [
        ...two(name),
        ...(name === "expert-worker" ? two(name) : []),
      ]),
    );
    for (const pod of local.pods) {
      for (const kind of ["startupProbe", "livenessProbe", "readinessProbe"] as const)
        expect(await probe(pod, kind), `${pod.name}: ${kind}`).toBe(true);
      expect(pod.kubelet.wouldRestart, pod.name).toBeUndefined();
    }
  });

  it("passes k6's smoke test", { timeout: PATIENCE_MS }, async () => {
    const { code, text } = await load("smoke");
    expect(code, `${text}\n${local.describe()}`).toBe(0);
  });

  it("passes `helm test`: k6 through the service, and every port of every pod", { timeout: PATIENCE_MS }, async () => {
    const hooks = podsOf(manifests).filter(({ owner }) => owner.kind === "Pod");
    expect(hooks.map(({ owner }) => owner.metadata.name)).toEqual(["demo-moiety-test-smoke", "demo-moiety-test-ports"]);
    for (const { owner } of hooks) {
      const { code, text } = await local.runHook(owner);
      expect(code, text).toBe(0);
      // The gateways' service; each gateway; of each other pod both ports.
      if (owner.metadata.name.endsWith("-ports")) expect(text.match(/^ok: /gm)).toHaveLength(1 + 2 + 2 * 8);
    }
  });

  it("serves nobody without a key, on no path of the API", { timeout: PATIENCE_MS }, async () => {
    const { paths } = (await (await fetch(`${local.url}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ path, method })),
    );
    const asked = [
      ...operations.filter(({ path }) => !OPEN_PATHS.includes(path)),
      { path: "/v1/no/such/path", method: "post" },
      { path: "/%76%31/models", method: "get" },
    ];
    expect(asked.length).toBeGreaterThan(20);
    for (const { path, method } of asked)
      for (const authorization of [undefined, "Bearer no-key", `Bearer ${KEY.slice(0, -1)}`, `Basic ${KEY}`]) {
        const headers = { "content-type": "application/json", ...(authorization === undefined ? {} : { authorization }) };
        const body = method === "get" ? {} : { body: "{}" };
        const init = { method: method.toUpperCase(), headers, ...body };
        const response = await fetch(`${local.url}${path.replaceAll(/\{\w+\}/g, "any")}`, init);
        // Without an admin key there is nothing to administrate.
        const status = path.startsWith("/admin/") ? 404 : 401;
        expect([path, method, authorization, response.status]).toEqual([path, method, authorization, status]);
        expect(await response.text()).not.toContain(KEY.slice(0, -1));
      }
  });

  it("shows no metrics to those who reach the API, and all to those who reach the port for them", async () => {
    expect((await fetch(`${local.url}/metrics`)).status).toBe(404);
    const gateways = local.pods.filter(({ container }) => container.name === "gateway");
    expect(gateways).toHaveLength(2);
    for (const { ip, container } of gateways) {
      const port = container.ports?.find(({ name }) => name === "metrics")?.containerPort;
      expect(await (await fetch(`http://${ip}:${port}/metrics`)).text()).toContain("moiety_tenant_responses_total");
    }
  });

  it("answers on no gRPC port to a caller without a certificate of its authority", { timeout: PATIENCE_MS }, async () => {
    const others = makeCertificates(join(folder, "others"), "DNS:demo-moiety-router");
    const ports = local.pods.flatMap(({ ip, container }) =>
      (container.ports ?? []).flatMap(({ name, containerPort }) => (name === "grpc" ? [{ host: ip, port: containerPort }] : [])),
    );
    expect(ports).toHaveLength(8);
    for (const address of ports) {
      expect(await callGrpc(address, { tls: true, certificates })).toBe("answers");
      expect(await callGrpc(address, { tls: true, certificates: others })).toBe("refuses");
      expect(await callGrpc(address, { tls: true })).toBe("refuses");
      expect(await callGrpc(address, { tls: false })).toBe("refuses");
    }
  });

  it("is not ready without Redis, and lives: Kubernetes restarts nothing for it", { timeout: PATIENCE_MS }, async () => {
    const gateways = local.pods.filter(({ container }) => container.name === "gateway");
    await redis.process.kill();
    await waitUntil("no gateway is ready", () => gateways.every(({ kubelet }) => !kubelet.isReady), { timeoutMs: 30_000 });
    for (const pod of local.pods) expect(await probe(pod, "livenessProbe"), pod.name).toBe(true);
    redis.process.start();
    await redis.waitReady();
    await Promise.all(local.pods.map((pod) => pod.waitReady()));
    for (const pod of local.pods) expect(pod.kubelet.wouldRestart, pod.name).toBeUndefined();
  });

  it("loses no request while every component is replaced, one pod after the other, under load", {
    timeout: 3 * PATIENCE_MS,
  }, async () => {
    let isOver = false;
    let asked = 0;
    const until = createServer((_request, response) => {
      asked += 1;
      response.writeHead(isOver ? 410 : 200).end();
    }).listen(0, "127.0.0.1");
    await once(until, "listening");
    const loading = load("rolling", "--until", `http://127.0.0.1:${(until.address() as AddressInfo).port}`);
    let ended = false;
    loading.then(() => {
      ended = true;
    });
    const before = new Set(local.pods);
    try {
      for (const owner of local.owners) {
        const askedBefore = asked;
        await waitUntil("k6 asks for completions", () => ended || asked >= askedBefore + 4, { timeoutMs: 120_000 });
        const ends = await local.rollOut(owner);
        for (const [name, exit] of ends) expect([name, exit]).toEqual([name, { code: 0, signal: undefined }]);
        await Promise.all(local.pods.map((pod) => pod.waitReady()));
        expect(ended, `the load ended before ${owner.metadata.name} was replaced`).toBe(false);
      }
      const askedBefore = asked;
      await waitUntil("k6 goes on", () => ended || asked >= askedBefore + 4, { timeoutMs: 120_000 });
    } finally {
      isOver = true;
      const { code, text } = await loading;
      until.close();
      expect(code, `${text}\n${local.describe()}`).toBe(0);
    }
    expect(local.pods.filter((pod) => before.has(pod))).toEqual([]);
    for (const pod of local.pods) expect(pod.kubelet.wouldRestart, pod.name).toBeUndefined();
  });

  it("says nothing but lines of its log: no process has a warning of Node's", () => {
    for (const pod of local.pods) for (const line of pod.process.output.lines) expect(line, pod.name).toMatch(/^\{/);
  });

  it("stays within the limits of its containers", () => {
    for (const pod of local.pods) {
      const limit = bytesOf(`${pod.container.resources.limits?.["memory"]}`);
      expect(pod.peakBytes, pod.name).toBeGreaterThan(0);
      expect(pod.peakBytes, pod.name).toBeLessThan(limit);
    }
  });
});
