import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findTool, Helm, only, podsOf } from "./helm.js";
import { LocalPods } from "./local-pods.js";

const PATIENCE_MS = 120_000;
const program = findTool("helm");
// Addresses other than 127.0.0.1 belong to the loopback interface on Linux alone.
const canRun = program !== undefined && process.platform === "linux";

describe.runIf(canRun)("the pods of values-cpu.yaml, as processes of this machine", () => {
  const manifests = canRun
    ? new Helm(program).manifests("values-cpu.yaml", { model: { name: "moiety-tiny" }, gateway: { replicas: 2 } })
    : [];
  const local = new LocalPods(manifests);
  const folder = mkdtempSync(join(tmpdir(), "moiety-layout-"));
  const hopes = { timeoutMs: 60_000, intervalMs: 200, describe: () => local.describe() };
  const ours = () => local.pods.filter(({ container }) => container.name !== "redis");

  beforeAll(() => local.start(), PATIENCE_MS);
  afterAll(async () => {
    await local.close();
    rmSync(folder, { recursive: true, force: true });
  }, PATIENCE_MS);

  /** Runs what `helm test` runs. */
  async function smokeTest(): Promise<{ code: number | null; text: string }> {
    const script = join(folder, "smoke-test.mjs");
    writeFileSync(script, only(manifests, "ConfigMap", "-test").data?.["smoke-test.mjs"] ?? "");
    const [container] = podsOf([only(manifests, "Pod", "-test")])[0]?.pod.containers ?? [];
    const env = Object.fromEntries((container?.env ?? []).map(({ name, value = "" }) => [name, value]));
    const url = new URL(env["GATEWAY_URL"] ?? "");
    const { spec } = only(manifests, "Service", "-gateway");
    expect(`${spec.ports[0].port}`).toBe(url.port || "80");
    const child = spawn(process.execPath, [script], {
      env: { ...env, GATEWAY_URL: `http://${local.addressOf(url.hostname)}:8080` },
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { code, text };
  }

  it("pass every probe", { timeout: PATIENCE_MS }, async () => {
    expect(ours()).toHaveLength(6);
    for (const pod of ours())
      for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"] as const)
        await waitUntil(`${pod.name}: ${probe}`, () => pod.passes(probe), { ...hopes, hopeless: () => !pod.process.isAlive });
  });

  it("pass the test of the release", { timeout: PATIENCE_MS }, async () => {
    const { code, text } = await smokeTest();
    expect(code, `${text}\n${local.describe()}`).toBe(0);
    expect(text.match(/^ok: /gm)).toHaveLength(4);
  });

  it("are not ready without what they need, but live", { timeout: PATIENCE_MS }, async () => {
    const [redis] = local.pods.filter(({ container }) => container.name === "redis");
    const [gateway] = ours().filter(({ container }) => container.name === "gateway");
    await redis?.process.kill();
    await waitUntil("the gateway is not ready", async () => (await gateway?.passes("readinessProbe")) === false, hopes);
    expect(await gateway?.passes("livenessProbe")).toBe(true);
    redis?.process.start();
    await waitUntil("the gateway is ready", () => gateway?.passes("readinessProbe"), hopes);
  });

  it("are replaced one by one, each within its time, and serve again", { timeout: 2 * PATIENCE_MS }, async () => {
    for (const pod of ours()) {
      const graceMs =
        1_000 *
        (podsOf(manifests).find(({ pod: { containers } }) => containers[0] === pod.container)?.pod
          .terminationGracePeriodSeconds ?? 0);
      expect(await pod.process.terminate(graceMs), pod.name).toEqual({ code: 0, signal: undefined });
      pod.process.start();
      await waitUntil(`${pod.name} is ready`, () => pod.passes("readinessProbe"), hopes);
    }
    const { code, text } = await smokeTest();
    expect(code, `${text}\n${local.describe()}`).toBe(0);
  });
});
