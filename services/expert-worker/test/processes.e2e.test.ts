import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseWorkerId } from "@moiety/core";
import { activationFor, type ExpertEngine, type Kernels, openKernels } from "@moiety/kernels";
import { openCheckpoint } from "@moiety/model";
import { modelIdentity, rowBytesOf } from "@moiety/proto";
import { ControlClient, createLogger } from "@moiety/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// biome-ignore lint/style/noRestrictedImports: a test of both ends of a link; the product's code meets in proto/.
import { silentObserver } from "../../attention-worker/src/experts/expert-pool-observer.js";
// biome-ignore lint/style/noRestrictedImports: see above.
import { LocalExpertPool } from "../../attention-worker/src/experts/local-expert-pool.js";
// biome-ignore lint/style/noRestrictedImports: see above.
import { RemoteExpertPool } from "../../attention-worker/src/experts/remote-expert-pool.js";
// biome-ignore lint/style/noRestrictedImports: see above.
import { routerConfigSchema } from "../../router/src/config.js";
// biome-ignore lint/style/noRestrictedImports: see above.
import { type Router, startRouter } from "../../router/src/server.js";
import { rowsBySlot, until } from "./cluster.js";

const CHECKPOINT = fileURLToPath(new URL("../../../packages/testing/fixtures/golden/ckpt/A", import.meta.url));
const ENTRY = fileURLToPath(new URL("./worker-process.mjs", import.meta.url));
const logger = createLogger({ service: "test", instance: "test", level: "silent" });
const never = () => new AbortController().signal;

let router: Router;
let kernels: Kernels;
let pool: RemoteExpertPool;
let local: LocalExpertPool;
let control: ControlClient;
let layerCalls: { layer: number; rows: number; normed: Uint8Array; expertIds: Uint16Array }[];
let rowBytes = 0;
const workers = new Map<string, ChildProcess>();
const events: string[] = [];

function spawnWorker(id: string): void {
  const env = {
    ...process.env,
    MOIETY_WORKER_ID: id,
    MOIETY_MODEL: CHECKPOINT,
    MOIETY_ROUTER_ADDRESS: `127.0.0.1:${router.port}`,
    MOIETY_THREADS: "1",
    MOIETY_LOG_LEVEL: "warn",
  };
  workers.set(id, spawn(process.execPath, [ENTRY], { env, stdio: ["ignore", "ignore", "inherit"] }));
}

beforeAll(async () => {
  router = await startRouter({
    logger,
    config: routerConfigSchema.parse({
      MOIETY_LISTEN_ADDRESS: "127.0.0.1:0",
      MOIETY_MIN_EXPERT_WORKERS: "2",
      MOIETY_REPLICAS: "2",
      MOIETY_SETTLE_MS: "100",
      MOIETY_GROW_DELAY_MS: "100",
      MOIETY_REJOIN_GRACE_MS: "1000",
    }),
  });
  for (const id of ["expert-0", "expert-1"]) spawnWorker(id);
  const checkpoint = await openCheckpoint(CHECKPOINT);
  kernels = openKernels({ threads: 1 });
  const { config, fingerprint } = checkpoint;
  const activation = activationFor("auto", checkpoint.expertFormat);
  const model = modelIdentity({ fingerprint, config, activation, kernelFamily: kernels.familyOf(activation) });
  rowBytes = rowBytesOf(model);
  const engine: ExpertEngine = kernels.createExpertEngine({ config, activation });
  const { layers, experts, expertsPerToken } = config;
  for (let layer = 0; layer < layers; layer += 1) {
    for (let expert = 0; expert < experts; expert += 1) await engine.load(checkpoint.expertRefs(layer, expert));
  }
  local = new LocalExpertPool({ engine, layers, experts, expertsPerToken, rowBytes });
  const selfId = parseWorkerId("attention-0");
  pool = await RemoteExpertPool.start({
    selfId,
    listenAddress: "127.0.0.1:0",
    model,
    limits: { callDeadlineMs: 300 },
    observer: { ...silentObserver, repeated: ({ reason }) => events.push(reason) },
  });
  control = new ControlClient({
    routerAddress: `127.0.0.1:${router.port}`,
    worker: { workerId: selfId, incarnation: "1", kind: "attention", address: pool.address, model, capacitySlots: 0 },
    status: () => ({ readyEpoch: pool.epoch, queuedCalls: 0, runningCalls: 0, residentBytes: 0, loads: [], fault: "" }),
    logger,
  });
  control.onPlacement((table) => pool.updatePlacement(table));
  control.start();
  layerCalls = Array.from({ length: 24 }, (_, index) => {
    const rows = 1 + ((index * 5) % 19);
    const floats = Uint16Array.from(
      { length: (rows * rowBytes) / 2 },
      (_unused, at) => 0x3c00 + ((at * 97 + index * 31) % 512) + ((at % 2) << 15),
    );
    const expertIds = Uint16Array.from(
      { length: rows * expertsPerToken },
      (_unused, slot) => (Math.floor(slot / expertsPerToken) * 3 + (slot % expertsPerToken) + index) % experts,
    );
    return { layer: index % layers, rows, normed: new Uint8Array(floats.buffer), expertIds };
  });
  await until(() => pool.missing().length === 0, 60_000);
}, 90_000);

afterAll(async () => {
  for (const worker of workers.values()) {
    worker.kill("SIGCONT");
    worker.kill("SIGKILL");
  }
  await control.close();
  await pool.close();
  await router.close();
  await kernels.close();
});

/** Runs every call on both pools, several at a time, and compares the bytes; `during` happens in the middle. */
async function compareWithLocal(during: () => void): Promise<void> {
  const pending = layerCalls.map(async (call, index) => {
    if (index === layerCalls.length / 2) during();
    return pool.run(call, never());
  });
  for (const [index, call] of layerCalls.entries()) {
    const remote = rowsBySlot(await (pending[index] ?? Promise.reject()), rowBytes);
    const here = rowsBySlot(await local.run(call, never()), rowBytes);
    expect(remote).toEqual(here);
  }
}

describe("real expert workers", () => {
  it("give the same bytes as experts in this process", async () => {
    await compareWithLocal(() => {});
    expect(new Set(layerCalls.map(({ layer }) => layer)).size).toBeGreaterThan(1);
  });

  it("stand in for one that was stopped, after the deadline", async () => {
    const stopped = workers.get("expert-0");
    stopped?.kill("SIGSTOP");
    await compareWithLocal(() => {});
    expect(events.some((reason) => reason === "DEADLINE_EXCEEDED" || reason === "LINK_LOST")).toBe(true);
    stopped?.kill("SIGCONT");
    await until(() => pool.missing().length === 0, 30_000);
  }, 60_000);

  it("stand in for one that was killed, with the same bytes", async () => {
    await compareWithLocal(() => workers.get("expert-1")?.kill("SIGKILL"));
    await compareWithLocal(() => {});
  }, 60_000);

  it("drain and exit with 0 on SIGTERM", async () => {
    const worker = workers.get("expert-0");
    spawnWorker("expert-2");
    const exited = worker === undefined ? Promise.resolve([1]) : once(worker, "exit");
    await until(() => control.active?.workers.some(({ id }) => id === "expert-2") === true, 60_000);
    worker?.kill("SIGTERM");
    await compareWithLocal(() => {});
    const [code] = await exited;
    expect(code).toBe(0);
    await compareWithLocal(() => {});
  }, 90_000);
});
