import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Server, ServerDuplexStream } from "@grpc/grpc-js";
import { type PlacementTable, parseWorkerId } from "@moiety/core";
import {
  ActivationType,
  ControlServiceService,
  type Hello,
  type Placement,
  PlacementState,
  type RouterMessage,
  type WorkerMessage,
  type WorkerStatus,
} from "@moiety/proto";
import { freePort, waitUntil } from "@moiety/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ControlClient } from "./control-client.js";
import { createServer, type ListeningServer, listen } from "./grpc.js";
import { createLogger } from "./logger.js";

const model = {
  fingerprint: "f",
  layers: 1,
  hiddenSize: 64,
  experts: 4,
  expertsPerToken: 2,
  activation: ActivationType.ACTIVATION_TYPE_F32,
  kernelFamily: "cpu",
};
const { PLACEMENT_STATE_ACTIVE: ACTIVE, PLACEMENT_STATE_PREPARING: PREPARING } = PlacementState;
const placement = (epoch: number, state: PlacementState = ACTIVE, experts = [0, 1, 2, 3], workerId = "w"): Placement => ({
  epoch,
  state,
  assignments: [{ workerId, address: "h:1", layers: [{ layer: 0, experts }] }],
});

/** A router that says what the test tells it to. */
class ScriptedRouter {
  readonly hellos: Hello[] = [];
  readonly statuses: WorkerStatus[] = [];
  readonly port: number;
  term = 0;
  #stream: ServerDuplexStream<WorkerMessage, RouterMessage> | undefined;
  #listening: ListeningServer | undefined;
  #server: Server | undefined;

  constructor(port: number) {
    this.port = port;
  }

  async start(): Promise<void> {
    this.#server = createServer();
    this.#server.addService(ControlServiceService, {
      join: (stream: ServerDuplexStream<WorkerMessage, RouterMessage>) => {
        this.#stream = stream;
        stream.on("error", () => {});
        stream.on("end", () => stream.end());
        stream.on("data", ({ message }: WorkerMessage) => {
          if (message?.$case === "status") this.statuses.push(message.value);
          if (message?.$case !== "hello") return;
          this.hellos.push(message.value);
          stream.write({
            message: { $case: "welcome", value: { heartbeatIntervalMs: 60, heartbeatTimeoutMs: 200, term: this.term } },
          });
        });
      },
    });
    this.#listening = await listen(this.#server, `127.0.0.1:${this.port}`);
  }

  publish(value: Placement): void {
    this.#stream?.write({ message: { $case: "placement", value } });
  }

  async kill(): Promise<void> {
    this.#server?.forceShutdown();
    await this.#listening?.close();
    this.#listening = undefined;
  }
}

let router: ScriptedRouter;
let client: ControlClient;
let seen: PlacementTable[];

function makeClient(routerAddress: string): ControlClient {
  return new ControlClient({
    routerAddress,
    worker: { workerId: parseWorkerId("w"), incarnation: "1", kind: "expert", address: "h:1", model, capacitySlots: 4 },
    status: () => ({
      readyEpoch: seen.at(-1)?.epoch ?? 0,
      queuedCalls: 0,
      runningCalls: 0,
      residentBytes: 0,
      loads: [],
      fault: "",
    }),
    logger: createLogger({ service: "test", instance: "test", level: "silent" }),
  });
}

beforeEach(async () => {
  router = new ScriptedRouter(await freePort());
  seen = [];
  client = makeClient(`127.0.0.1:${router.port}`);
  client.onPlacement((table) => seen.push(table));
});

afterEach(async () => {
  await client.close();
  await router.kill();
});

async function joined(): Promise<void> {
  await router.start();
  client.start();
  await waitUntil("the worker joins", () => client.state.kind === "joined");
}

describe("a worker's side of the control plane", () => {
  it("waits for a router that is not there yet, then says Hello once and reports at the interval", async () => {
    client.start();
    await waitUntil("it waits", () => client.state.kind === "waiting");
    await router.start();
    await waitUntil("it reports", () => router.statuses.length >= 4);
    expect(router.hellos).toHaveLength(1);
    expect(router.hellos[0]).toMatchObject({ workerId: "w", capacitySlots: 4, placement: undefined });
    expect(router.statuses[0]?.draining).toBe(false);
  });

  it("hands on placements in order and ignores old ones", async () => {
    await joined();
    for (const message of [placement(3, PREPARING), placement(3), placement(3), placement(2), placement(4, PREPARING)])
      router.publish(message);
    await waitUntil("the last arrived", () => client.newest?.epoch === 4);
    expect(seen.map(({ epoch, phase }) => [epoch, phase])).toEqual([
      [3, "preparing"],
      [3, "active"],
      [4, "preparing"],
    ]);
    expect(client.active?.epoch).toBe(3);
  });

  it("tells a restarted router the newest placement it has seen", async () => {
    await joined();
    router.publish(placement(7));
    await waitUntil("it arrived", () => client.active?.epoch === 7);
    await router.kill();
    await waitUntil("it waits", () => client.state.kind === "waiting");
    await router.start();
    await waitUntil("it is back", () => router.hellos.length === 2);
    expect(router.hellos[1]?.placement).toEqual(placement(7));
    expect(seen).toHaveLength(1);
  });

  it.each([
    ["an expert that the model does not have", placement(1, ACTIVE, [4])],
    ["experts out of order", placement(1, ACTIVE, [2, 1])],
    ["no phase", placement(1, PlacementState.PLACEMENT_STATE_UNSPECIFIED)],
    ["a worker id that is none", placement(1, ACTIVE, [0], "no good")],
    [
      "a layer that the model does not have",
      { ...placement(1), assignments: [{ workerId: "w", address: "h:1", layers: [{ layer: 1, experts: [] }] }] },
    ],
    ["an address that is none", { ...placement(1), assignments: [{ workerId: "w", address: "h", layers: [] }] }],
  ])("takes no placement with %s, and joins anew", async (_name, message) => {
    await joined();
    router.publish(message);
    await waitUntil("it joins again", () => router.hellos.length === 2);
    expect(seen).toEqual([]);
    expect(client.newest).toBeUndefined();
  });

  it("reports at once when asked to", async () => {
    await joined();
    await waitUntil("the first report", () => router.statuses.length > 0);
    const before = router.statuses.length;
    for (let index = 0; index < 100; index += 1) client.reportSoon();
    await waitUntil("one more", () => router.statuses.length > before, { timeoutMs: 40, intervalMs: 1 });
    expect(router.statuses.length).toBeLessThan(before + 3);
  });

  it("keeps nothing of the reports that it has sent", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const heapBytesAfter = async (reports: number) => {
      for (let sent = 0; sent < reports; sent += 1) {
        client.reportSoon();
        await new Promise((resolve) => setImmediate(resolve));
      }
      router.statuses.length = 0;
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    await joined();
    const before = await heapBytesAfter(2_000);
    const growthBytes = (await heapBytesAfter(20_000)) - before;
    expect(growthBytes / 20_000).toBeLessThan(100);
  }, 30_000);

  it("says that it drains before it closes", async () => {
    await joined();
    await client.close();
    await waitUntil("the last report", () => router.statuses.at(-1)?.draining === true);
    expect(client.state.kind).toBe("closed");
  });

  it("leaves when the active placement no longer names it, and not before", async () => {
    await joined();
    router.publish(placement(1));
    await waitUntil("it arrived", () => client.active?.epoch === 1);
    let left: boolean | undefined;
    const leaving = client.leave(5_000).then((value) => {
      left = value;
    });
    await waitUntil("it says so", () => router.statuses.at(-1)?.draining === true);
    router.publish(placement(2, PREPARING, [0, 1, 2, 3], "other"));
    await waitUntil("it arrived", () => client.newest?.epoch === 2);
    expect(left).toBeUndefined();
    router.publish(placement(2, ACTIVE, [0, 1, 2, 3], "other"));
    await leaving;
    expect(left).toBe(true);
  });

  it("leaves in the end although nobody takes its experts", async () => {
    await joined();
    router.publish(placement(1));
    await waitUntil("it arrived", () => client.active?.epoch === 1);
    expect(await client.leave(150)).toBe(false);
  });

  it("finds the router that leads among several, and never goes back to one of an older term", async () => {
    const [old, fresh] = [router, new ScriptedRouter(await freePort())];
    const found = makeClient(`127.0.0.1:1,127.0.0.1:${old.port},127.0.0.1:${fresh.port}`);
    try {
      old.term = 3;
      await old.start();
      found.start();
      await waitUntil("it joins", () => found.state.kind === "joined");
      await old.kill();
      fresh.term = 4;
      await fresh.start();
      await waitUntil("it joins the other", () => found.state.kind === "joined" && fresh.hellos.length === 1);
      expect(fresh.hellos[0]?.routerTerm).toBe(3);
      await fresh.kill();
      await old.start();
      await waitUntil("it asks the old one twice", () => old.hellos.length === 3);
      expect(old.hellos[2]?.routerTerm).toBe(4);
      expect(found.state.kind).not.toBe("joined");
      old.term = 5;
      await waitUntil("it joins the one that was elected again", () => found.state.kind === "joined");
      // A router without a term is the only one: the cluster has been told to have no other.
      await old.kill();
      old.term = 0;
      await old.start();
      await waitUntil("it joins the only one", () => found.state.kind === "joined" && old.hellos.at(-1)?.routerTerm === 5);
    } finally {
      await found.close();
      await fresh.kill();
    }
  });

  it("closes although there never was a router", async () => {
    client.start();
    await waitUntil("it waits", () => client.state.kind === "waiting");
    await client.close();
    expect(client.state.kind).toBe("closed");
  });
});
