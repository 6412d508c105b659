import { describe, expect, it } from "vitest";
import type { ClusterOptions } from "./cluster-options.js";
import { type ClusterPlan, type ProcessPlan, planCluster, portsNeeded } from "./run-plan.js";

const OPTIONS: ClusterOptions = {
  model: "/models/tiny",
  modelName: "tiny",
  host: "127.0.0.1",
  port: 8080,
  experts: 2,
  attention: 1,
  colocated: false,
  replicas: 1,
  threads: 2,
  dataDir: "/data",
};

function plan(changes: Partial<ClusterOptions> = {}): ClusterPlan {
  const options = { ...OPTIONS, ...changes };
  return planCluster(
    options,
    Array.from({ length: portsNeeded(options) }, (_, index) => 9_000 + index),
  );
}

const named = (cluster: ClusterPlan, name: string): ProcessPlan => {
  const found = cluster.services.find((service) => service.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
};

describe("planCluster", () => {
  it("plans Redis, a router, every worker and a gateway", () => {
    const cluster = plan({ experts: 3, attention: 2 });
    expect(cluster.redis?.kind).toBe("redis");
    expect(cluster.services.map(({ name }) => name)).toEqual([
      "router",
      "expert-0",
      "expert-1",
      "expert-2",
      "attention-0",
      "attention-1",
      "gateway",
    ]);
  });

  it.each([{ tcp: true }, { tcp: false }, { routers: 2 }])(
    "gives every process ports of its own and uses all that it asked for, %j",
    (given) => {
      const cluster = plan(given);
      const listened = cluster.services.flatMap(({ environment }) => [
        Number(environment["MOIETY_HTTP_PORT"]),
        ...[environment["MOIETY_LISTEN_ADDRESS"]].flatMap((address) =>
          address === undefined || address.startsWith("unix:") ? [] : [Number(address.split(":")[1])],
        ),
      ]);
      const ports = [...listened, cluster.redis?.readyPort];
      expect(new Set(ports).size).toBe(ports.length);
      expect(ports).toHaveLength(portsNeeded({ ...OPTIONS, ...given }) + 1);
    },
  );

  it("has workers meet at sockets of the data folder, unless its name is too long for one", () => {
    expect(named(plan(), "expert-1").environment["MOIETY_LISTEN_ADDRESS"]).toBe("unix:/data/sockets/expert-1.sock");
    const long = plan({ dataDir: `/${"long".repeat(25)}` });
    expect(named(long, "expert-1").environment["MOIETY_LISTEN_ADDRESS"]).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it("tells workers where the router is, and the router how many to wait for", () => {
    const cluster = plan({ experts: 4, replicas: 2 });
    const router = named(cluster, "router").environment;
    expect(router).toMatchObject({ MOIETY_MIN_EXPERT_WORKERS: "4", MOIETY_REPLICAS: "2" });
    for (const name of ["expert-3", "attention-0"]) {
      expect(named(cluster, name).environment).toMatchObject({
        MOIETY_WORKER_ID: name,
        MOIETY_ROUTER_ADDRESS: router["MOIETY_LISTEN_ADDRESS"],
      });
    }
  });

  it("tells workers of every router, and several routers to keep a lease", () => {
    const cluster = plan({ routers: 2 });
    const [first, second] = ["router-0", "router-1"].map((name) => named(cluster, name).environment);
    for (const router of [first, second]) expect(Number(router?.["MOIETY_ROUTER_LEASE_MS"])).toBeGreaterThan(0);
    const both = `${first?.["MOIETY_LISTEN_ADDRESS"]},${second?.["MOIETY_LISTEN_ADDRESS"]}`;
    for (const name of ["expert-0", "attention-0"]) expect(named(cluster, name).environment["MOIETY_ROUTER_ADDRESS"]).toBe(both);
    expect(named(plan(), "router").environment["MOIETY_ROUTER_LEASE_MS"]).toBe("0");
  });

  it("serves the API at the given address, and asks the gateway itself whether it is ready", () => {
    const gateway = named(plan({ host: "0.0.0.0", port: 1234 }), "gateway");
    expect(gateway.environment).toMatchObject({ MOIETY_HTTP_HOST: "0.0.0.0", MOIETY_HTTP_PORT: "1234" });
    expect(gateway.readyPort).toBe(1234);
  });

  it("needs neither router nor expert workers when experts are co-located", () => {
    const cluster = plan({ experts: 0, colocated: true });
    expect(cluster.services.map(({ name }) => name)).toEqual(["attention-0", "gateway"]);
    expect(named(cluster, "attention-0").environment["MOIETY_COLOCATED"]).toBe("true");
  });

  it("starts no Redis when one is named", () => {
    const cluster = plan({ redisUrl: "redis://elsewhere:6379" });
    expect(cluster.redis).toBeUndefined();
    expect(named(cluster, "gateway").environment["MOIETY_REDIS_URL"]).toBe("redis://elsewhere:6379");
  });

  it("keeps Redis's data in the data folder, on an append-only file", () => {
    expect(plan().redis?.given.join(" ")).toMatch(
      /--bind 127\.0\.0\.1 --dir \/data\/redis-data --appendonly yes --appendfsync everysec/,
    );
  });
});
