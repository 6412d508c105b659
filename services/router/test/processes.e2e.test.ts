import { fileURLToPath } from "node:url";
import { parseWorkerId } from "@moiety/core";
import { ControlClient } from "@moiety/runtime";
import { freePort, type ServiceHandle, spawnService, waitUntil } from "@moiety/testing";
import { afterEach, describe, expect, it } from "vitest";
import { logger, model } from "./identity.js";

const entry = fileURLToPath(new URL("router-process.mjs", import.meta.url));
const open: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()));
});

async function startProcess(): Promise<{ router: ServiceHandle; address: string }> {
  const address = `127.0.0.1:${await freePort()}`;
  const env = { MOIETY_LISTEN_ADDRESS: address, MOIETY_SETTLE_MS: "300", MOIETY_GROW_DELAY_MS: "100" };
  const router = await spawnService({ name: "router", run: { entry }, env });
  open.push(() => router.kill());
  await router.waitHealthy();
  return { router, address };
}

function join(routerAddress: string, name: string): ControlClient {
  let readyEpoch = 0;
  const worker = {
    workerId: parseWorkerId(name),
    incarnation: "1",
    kind: "expert",
    address: `${name}:1`,
    model,
    capacitySlots: 16,
  } as const;
  const status = () => ({ readyEpoch, queuedCalls: 0, runningCalls: 0, residentBytes: 0, loads: [], fault: "" });
  const client = new ControlClient({ routerAddress, worker, status, logger });
  client.onPlacement((table) => {
    readyEpoch = table.epoch;
    client.reportSoon();
  });
  client.start();
  open.push(() => client.close());
  return client;
}

describe("a router's process", () => {
  it("is killed and started again without a change of the table", async () => {
    const { router, address } = await startProcess();
    const client = join(address, "e0");
    await router.waitReady();
    await router.kill();
    await waitUntil("the worker notices", () => client.state.kind === "waiting");
    await router.restart();
    await router.waitReady();
    expect(await (await fetch(`${router.httpUrl}/status`)).json()).toMatchObject({
      placement: { phase: "active", activeEpoch: 1 },
    });
  });

  it("that is frozen is left, and found again when it thaws", async () => {
    const { router, address } = await startProcess();
    const client = join(address, "e0");
    await waitUntil("the worker joins", () => client.state.kind === "joined");
    router.freeze();
    await waitUntil("the worker notices", () => client.state.kind !== "joined", { timeoutMs: 15_000 });
    router.thaw();
    await waitUntil("the worker is back", () => client.state.kind === "joined", { timeoutMs: 15_000 });
  });

  it("sends its workers away and exits with 0 on SIGTERM", async () => {
    const { router, address } = await startProcess();
    const client = join(address, "e0");
    await router.waitReady();
    const startedMs = performance.now();
    expect(await router.terminate()).toEqual({ code: 0, signal: undefined });
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    await waitUntil("the worker notices", () => client.state.kind === "waiting");
  });

  it("ends at once, naming every fault, when its configuration is wrong", async () => {
    const env = { MOIETY_REPLICAS: "none", MOIETY_SETTLE_MS: "-1" };
    const router = await spawnService({ name: "router", run: { entry }, env });
    const { code } = await router.process.waitForExit();
    expect(code).toBe(1);
    await waitUntil("it says why", () => /MOIETY_REPLICAS: [\s\S]*MOIETY_SETTLE_MS: /.test(router.process.output.text(60)));
  });
});
