import { parseWorkerId } from "@moiety/core";
import { ActivationType, type ModelIdentity } from "@moiety/proto";
import { ControlClient, parseConfig } from "@moiety/runtime";
import { freePort, waitUntil } from "@moiety/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Router, routerConfigSchema, startRouter } from "../src/index.js";
import { logger, model } from "./identity.js";

let port: number;
let router: Router | undefined;
const clients: ControlClient[] = [];

beforeEach(async () => {
  port = await freePort();
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await router?.close();
  router = undefined;
});

async function start(env: Record<string, string> = {}): Promise<Router> {
  const quick = { MOIETY_SETTLE_MS: "200", MOIETY_GROW_DELAY_MS: "100", MOIETY_HEARTBEAT_INTERVAL_MS: "100" };
  const environment = { MOIETY_LISTEN_ADDRESS: `127.0.0.1:${port}`, ...quick, ...env };
  router = await startRouter({ config: parseConfig(routerConfigSchema, environment), logger });
  return router;
}

interface JoinOptions {
  readonly kind?: "attention" | "expert";
  readonly model?: Partial<ModelIdentity>;
  readonly incarnation?: string;
}

/** A worker that holds what it is told at once. */
function join(name: string, options: JoinOptions = {}): ControlClient {
  const { kind = "expert" } = options;
  let readyEpoch = 0;
  const client = new ControlClient({
    routerAddress: `127.0.0.1:${port}`,
    worker: {
      workerId: parseWorkerId(name),
      incarnation: options.incarnation ?? "1",
      kind,
      address: `${name}:1`,
      model: { ...model, ...options.model },
      capacitySlots: kind === "expert" ? 16 : 0,
    },
    status: () => {
      const loads = kind === "expert" ? [{ layer: 1, rows: [0, 3] }] : [];
      return { readyEpoch, queuedCalls: 0, runningCalls: 0, residentBytes: 1, loads, fault: "" };
    },
    logger,
  });
  client.onPlacement((table) => {
    readyEpoch = table.epoch;
    client.reportSoon();
  });
  client.start();
  clients.push(client);
  return client;
}

const activeEpoch = (client: ControlClient, epoch: number) =>
  waitUntil(`epoch ${epoch} is active`, () => client.active?.epoch === epoch, { describe: () => JSON.stringify(client.state) });
const refusal = (client: ControlClient) =>
  waitUntil(
    "the worker is refused",
    () => client.state.kind === "waiting" && client.state.error?.retryable === false && client.state.error,
  );

describe("a router", () => {
  it("gives every expert to the workers that join, and tells the attention worker", async () => {
    const { httpPort } = await start({ MOIETY_MIN_EXPERT_WORKERS: "2" });
    const attention = join("a0", { kind: "attention" });
    join("e0");
    expect((await fetch(`http://127.0.0.1:${httpPort}/ready`)).status).toBe(503);
    join("e1");
    await activeEpoch(attention, 1);
    expect(attention.active?.workers.map(({ id, experts }) => [id, experts.flat().length])).toEqual([
      ["e0", 8],
      ["e1", 8],
    ]);
    expect((await fetch(`http://127.0.0.1:${httpPort}/ready`)).status).toBe(200);
  });

  it("is found by workers that were there before it, and again after it was away, with the same table", async () => {
    const [attention] = [join("a0", { kind: "attention" }), join("e0"), join("e1")];
    await waitUntil("the worker waits", () => attention?.state.kind === "waiting");
    await start({ MOIETY_MIN_EXPERT_WORKERS: "2" });
    if (attention === undefined) return;
    await activeEpoch(attention, 1);
    const before = attention.active;
    await router?.close();
    await waitUntil("the worker waits", () => attention.state.kind === "waiting");
    const again = await start({ MOIETY_MIN_EXPERT_WORKERS: "2" });
    await waitUntil("the table is taken over", () => again.cluster?.active?.epoch === 1);
    expect(before !== undefined && again.cluster?.active?.sameAssignments(before)).toBe(true);
    await waitUntil("all are back", () => again.cluster?.countWithoutLiveWorker() === 0);
    expect(attention.active).toBe(before);
  });

  it("refuses a worker with another checkpoint, number format or kernel family, and names the difference", async () => {
    await start();
    join("e0");
    await waitUntil("the first is a member", () => router?.cluster?.members.length === 1);
    const error = await refusal(join("e1", { model: { fingerprint: "b".repeat(64), kernelFamily: "cuda-1" } }));
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(error.message).toMatch(/fingerprint: members have a{64}, this worker has b{64}; kernelFamily: members have cpu-1/);
    const other = await refusal(join("e2", { model: { activation: ActivationType.ACTIVATION_TYPE_F32 } }));
    expect(other.message).toMatch(/activation: members have bf16, this worker has f32/);
  });

  it("refuses a Hello that makes no sense, and names the field", async () => {
    await start();
    const error = await refusal(join("e0", { model: { layers: 100_000 } }));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: "hello: model.layers must be 1 to 256" });
  });

  it("refuses a second process under the id of one that lives", async () => {
    await start();
    join("e0");
    await waitUntil("the first is a member", () => router?.cluster?.members.length === 1);
    const second = join("e0", { incarnation: "2" });
    await waitUntil(
      "the second is told why",
      () => second.state.kind === "waiting" && second.state.error?.code === "ALREADY_EXISTS",
    );
  });

  it("lets a leaving worker go once the others have its experts", async () => {
    await start({ MOIETY_MIN_EXPERT_WORKERS: "2" });
    const [attention, leaving] = [join("a0", { kind: "attention" }), join("e0"), join("e1")];
    if (attention === undefined || leaving === undefined) return;
    await activeEpoch(attention, 1);
    expect(await leaving.leave(5_000)).toBe(true);
    await activeEpoch(attention, 2);
    expect(attention.active?.workers.map(({ id }) => id)).toEqual(["e1"]);
    await waitUntil("the router forgets it", () => router?.cluster?.members.length === 2);
  });

  it("shows members, placement and loads", async () => {
    const { httpPort } = await start();
    const worker = join("e0");
    await activeEpoch(worker, 1);
    const status = await (await fetch(`http://127.0.0.1:${httpPort}/status`)).json();
    expect(status).toMatchObject({
      placement: { phase: "active", activeEpoch: 1, expertsWithoutLiveWorker: 0 },
      members: [{ id: "e0", state: "live", readyEpoch: 1, fault: "" }],
    });
    const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
    expect(metrics).toMatch(/moiety_router_members\{kind="expert",state="live".*\} 1/);
    expect(metrics).toMatch(/moiety_router_epoch\{.*\} 1/);
    expect(metrics).toMatch(/moiety_router_expert_rows_total\{layer="1",expert="1".*\} \d+/);
  });

  it("is ready without expert workers when none are needed", async () => {
    const { httpPort } = await start({ MOIETY_MIN_EXPERT_WORKERS: "0" });
    expect((await fetch(`http://127.0.0.1:${httpPort}/ready`)).status).toBe(200);
  });
});
