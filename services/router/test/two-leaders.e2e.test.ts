import { connect, createServer, type Server, type Socket } from "node:net";
import { type PlacementTable, parseWorkerId } from "@moiety/core";
import { ControlClient, parseConfig } from "@moiety/runtime";
import { freePort, type RedisHandle, startRedis, waitUntil } from "@moiety/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Router, routerConfigSchema, startRouter } from "../src/index.js";
import { logger, model } from "./identity.js";

const LEASE_MS = 400;
const PATIENCE_MS = 60_000;

/** A way to Redis that can be cut. */
class Way {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  isCut = false;

  constructor(port: number) {
    this.#server = createServer((near) => {
      if (this.isCut) return near.destroy();
      const far = connect(port, "127.0.0.1");
      for (const socket of [near, far]) {
        this.#open.add(socket);
        socket.on("error", () => {}).on("close", () => this.#open.delete(socket));
      }
      near.pipe(far).pipe(near);
      return near;
    });
  }

  async listen(): Promise<string> {
    const port = await freePort();
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return `redis://127.0.0.1:${port}`;
  }

  cut(): void {
    this.isCut = true;
    for (const socket of this.#open) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

interface Worker {
  readonly client: ControlClient;
  /** Every table that it took, in order. */
  readonly tables: readonly PlacementTable[];
}

const open: (() => Promise<unknown>)[] = [];
let redis: RedisHandle;
let way: Way;
let addresses: readonly [string, string];

beforeEach(async () => {
  redis = await startRedis();
  way = new Way(redis.port);
  addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
}, PATIENCE_MS);

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  await way.close();
  await redis.close();
}, PATIENCE_MS);

async function start(name: string, address: string, redisUrl: string): Promise<Router> {
  const environment = {
    MOIETY_ROUTER_ID: name,
    MOIETY_LISTEN_ADDRESS: address,
    MOIETY_ROUTER_LEASE_MS: `${LEASE_MS}`,
    MOIETY_REDIS_URL: redisUrl,
    MOIETY_SETTLE_MS: "200",
    MOIETY_GROW_DELAY_MS: "100",
    MOIETY_HEARTBEAT_INTERVAL_MS: "100",
  };
  const router = await startRouter({ config: parseConfig(routerConfigSchema, environment), logger });
  open.push(() => router.close());
  return router;
}

function join(name: string, kind: "attention" | "expert", routerAddress: string): Worker {
  const tables: PlacementTable[] = [];
  const client = new ControlClient({
    routerAddress,
    worker: {
      workerId: parseWorkerId(name),
      incarnation: "1",
      kind,
      address: `${name}:1`,
      model,
      capacitySlots: kind === "expert" ? 16 : 0,
    },
    status: () => ({
      readyEpoch: tables.at(-1)?.epoch ?? 0,
      queuedCalls: 0,
      runningCalls: 0,
      residentBytes: 1,
      loads: [],
      fault: "",
    }),
    logger,
  });
  client.onPlacement((table) => {
    tables.push(table);
    client.reportSoon();
  });
  client.start();
  open.push(() => client.close());
  return { client, tables };
}

describe("two routers that lead at once", () => {
  it("do no harm: each worker's tables only grow, and in the end all have the newer leader's", {
    timeout: PATIENCE_MS,
  }, async () => {
    const [a, b] = addresses;
    const first = await start("a", a, await way.listen());
    await waitUntil("the first leads", () => first.cluster !== undefined);
    const second = await start("b", b, redis.url);
    const old = [join("e0", "expert", `${a},${b}`), join("e1", "expert", `${b},${a}`), join("a0", "attention", `${b},${a}`)];
    await waitUntil("all are with the first", () => old.every(({ client }) => client.active?.workers.length === 2));
    expect(second.cluster).toBeUndefined();
    const before = old[2]?.client.active;

    way.cut();
    await waitUntil("both lead", () => second.cluster !== undefined);
    expect(first.cluster).toBeDefined();
    const fresh = join("e2", "expert", `${b},${a}`);
    await waitUntil("the second has a table of its own", () => fresh.client.active !== undefined);
    expect(fresh.client.active?.workers.map(({ id }) => id)).toEqual(["e2"]);
    // Those who are with the first notice nothing.
    expect(old.map(({ client }) => client.state.kind)).toEqual(["joined", "joined", "joined"]);
    expect(old[2]?.client.active).toBe(before);

    way.isCut = false;
    await waitUntil("the first steps down", () => first.cluster === undefined);
    const all = [...old, fresh];
    const isSettled = ({ client }: Worker) => client.active?.workers.length === 3 && client.active === client.newest;
    await waitUntil("all have one table of the second", () => all.every(isSettled), { timeoutMs: 30_000 });
    expect(second.cluster?.members).toHaveLength(4);
    const { active } = second.cluster ?? {};
    for (const { client, tables } of all) {
      expect(active?.epoch).toBe(client.active?.epoch);
      expect(client.active !== undefined && active?.sameAssignments(client.active)).toBe(true);
      for (const [index, table] of tables.entries()) expect(table.isNewerThan(tables[index - 1])).toBe(true);
    }
  });

  it("come down to one when a worker of the newer asks the older", { timeout: PATIENCE_MS }, async () => {
    const [a, b] = addresses;
    const first = await start("a", a, await way.listen());
    await waitUntil("the first leads", () => first.cluster !== undefined);
    const second = await start("b", b, redis.url);
    way.cut();
    await waitUntil("both lead", () => second.cluster !== undefined);
    const { client } = join("e0", "expert", `${b},${a}`);
    await waitUntil("the worker has a table of the second", () => client.active !== undefined);
    const { active } = client;
    await second.close();
    await waitUntil("the first has heard of the second", () => first.cluster === undefined);
    way.isCut = false;
    await waitUntil("the first leads again, by an election", () => first.cluster?.active !== undefined);
    await waitUntil("the worker is with it", () => client.state.kind === "joined");
    expect(client.active).toBe(active);
    expect(first.cluster?.active?.epoch).toBe(active?.epoch);
  });
});
