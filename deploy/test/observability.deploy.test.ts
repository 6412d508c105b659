import { setTimeout as sleep } from "node:timers/promises";
import { hasOpenssl, waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readPanels, readRules, seriesOf } from "./observed.js";
import { ObservedCluster } from "./observed-cluster.js";
import { findProgram } from "./program.js";
import { PrometheusProcess } from "./prometheus-process.js";
import { shortenRules } from "./shortened-rules.js";

/** Minutes of two cores, so that it runs where it is asked for. */
const isAsked = ["test:deploy", "test:containers"].includes(process.env["npm_lifecycle_event"] ?? "");
const program = isAsked ? findProgram("prometheus") : undefined;
const PATIENCE_MS = 180_000;

const files = readRules();
const rules = files.flatMap(({ groups }) => groups.flatMap((group) => group.rules));
const alertNames = rules.flatMap(({ alert }) => (alert === undefined ? [] : [alert])).sort();
/** As Grafana fills them in. */
const filledIn = (expr: string) =>
  expr.replaceAll("$__rate_interval", "5s").replaceAll("$layer", ".*").replaceAll("$namespace", ".*");

describe.skipIf(program === undefined || !hasOpenssl())("a cluster and a real Prometheus", () => {
  let observed: ObservedCluster;
  let prometheus: PrometheusProcess;
  const fired = new Set<string>();
  const load = new AbortController();

  beforeAll(async () => {
    observed = await ObservedCluster.start();
    prometheus = await PrometheusProcess.start({
      program: program ?? "",
      targets: observed.targets,
      rules: files.map(shortenRules),
    });
  }, PATIENCE_MS);
  afterAll(async () => {
    load.abort();
    await prometheus?.close();
    await observed?.close();
  }, PATIENCE_MS);

  /** Waits until the alerts have fired, doing something again and again meanwhile. */
  async function expectToFire(names: readonly string[], meanwhile: () => Promise<unknown> = () => sleep(500)): Promise<void> {
    const missing = new Set(names);
    const look = async () => {
      for (const name of await prometheus.alerts("firing")) {
        fired.add(name);
        missing.delete(name);
      }
      if (missing.size > 0) await meanwhile();
      return missing.size === 0;
    };
    const describe = () => `not firing: ${[...missing].join(", ")}\n${observed.describe().slice(-6_000)}`;
    await waitUntil(`${names.join(", ")} fire`, look, { timeoutMs: 120_000, describe });
  }

  async function expectSilence(names: readonly string[]): Promise<void> {
    const isSilent = async () => (await prometheus.alerts("firing")).every((name) => !names.includes(name));
    const hopes = { timeoutMs: 60_000, intervalMs: 500, describe: () => observed.describe() };
    await waitUntil(`${names.join(", ")} are silent`, isSilent, hopes);
  }

  async function keepAsking(tokens: number): Promise<void> {
    while (!load.signal.aborted) {
      await observed.complete(tokens, load.signal);
      await sleep(50);
    }
  }

  it("fires no alert while all is well", { timeout: PATIENCE_MS }, async () => {
    for (let index = 0; index < 2; index += 1) keepAsking(24).catch(() => undefined);
    await waitUntil("tokens are counted", async () => (await prometheus.history("moiety:worker_rows:rate5m > 0")).length > 0, {
      timeoutMs: 60_000,
    });
    await sleep(10_000);
    expect(await prometheus.alerts()).toEqual([]);
  });

  it("fires when certificates are about to expire", { timeout: PATIENCE_MS }, async () => {
    observed.renewCertificates();
    await expectToFire(["MoietyCertificateExpiring"]);
  });

  it("fires when expert workers come and go, and then stay away", { timeout: PATIENCE_MS }, async () => {
    const { workers, cluster } = observed;
    const all = async () => {
      await Promise.all(workers.map((worker) => worker.restart()));
      await Promise.all(workers.map((worker) => worker.waitReady(60_000)));
      await cluster.waitReady(60_000);
    };
    await expectToFire(["MoietyWorkerFlapping"], all);
    await Promise.all(workers.slice(1).map((worker) => worker.kill()));
    await expectToFire(["MoietyExpertWithoutWorker", "MoietyExpertsUnplaced", "MoietyStalled"]);
  });

  it("falls silent when others come in their place", { timeout: PATIENCE_MS }, async () => {
    await observed.replaceWorkers();
    await expectSilence(["MoietyExpertWithoutWorker", "MoietyExpertsUnplaced", "MoietyStalled", "MoietyWorkerFlapping"]);
  });

  it("fires when more is asked than can be computed", { timeout: PATIENCE_MS }, async () => {
    const flood = new AbortController();
    const asks: Promise<unknown>[] = [];
    const statuses = new Set<number | undefined>();
    const ask = async () => {
      for (let index = 0; index < 4; index += 1) {
        asks.push(observed.complete(400, flood.signal).then((status) => statuses.add(status)));
      }
      await sleep(500);
    };
    try {
      await expectToFire(["MoietyQueueGrowing", "MoietySlowFirstToken", "MoietyKvCacheFull", "MoietyExpertImbalance"], ask);
      const isRefused = async () => {
        await ask();
        return statuses.has(429);
      };
      await waitUntil("the gateway takes no more", isRefused, { timeoutMs: 60_000 });
      await waitUntil("that is counted", () => prometheus.hasSeries("moiety_gateway_rejected_total"));
    } finally {
      flood.abort();
      await Promise.allSettled(asks);
    }
  });

  it("fires when Redis is away, and when the router that leads dies meanwhile", { timeout: PATIENCE_MS }, async () => {
    const asks: Promise<unknown>[] = [];
    const leader = await observed.leader();
    await observed.cluster.redis.kill();
    await expectToFire(["MoietyQueueUnreachable", "MoietyErrors"], async () => {
      asks.push(observed.complete(8, load.signal));
      await sleep(500);
    });
    expect(await prometheus.alerts("firing")).not.toContain("MoietyRouterWithoutLeader");
    await leader?.kill();
    await expectToFire(["MoietyRouterWithoutLeader"]);
    const standby = observed.routers.find((router) => router !== leader);
    expect(await standby?.metrics()).toMatch(/^moiety_router_leader\{.*\} 0$/m);
    await observed.cluster.redis.restart();
    await expectSilence(["MoietyQueueUnreachable", "MoietyErrors", "MoietyRouterWithoutLeader"]);
    expect(await observed.leader()).toBe(standby);
    await leader?.restart();
    await leader?.waitReady(60_000);
    await Promise.allSettled(asks);
  });

  it("fires when one router after the other is elected, because each stands still in its turn", {
    timeout: PATIENCE_MS,
  }, async () => {
    const haltLeader = async () => {
      const leader = await observed.leader();
      leader?.freeze();
      // Longer than a lease and the standby's next look at it.
      await sleep(1_500);
      leader?.thaw();
    };
    await expectToFire(["MoietyRouterFlapping"], haltLeader);
  });

  it("fires when the last attention worker and the last gateway are gone", { timeout: PATIENCE_MS }, async () => {
    const [worker] = observed.cluster.attentionWorkers;
    const [gateway] = observed.cluster.gateways;
    await worker?.kill();
    await expectToFire(["MoietyNoAttentionWorker"]);
    await worker?.restart();
    await expectSilence(["MoietyNoAttentionWorker"]);
    load.abort();
    await gateway?.kill();
    await expectToFire(["MoietyNoGateway"]);
  });

  it("has fired every alert there is", () => {
    expect([...fired].sort()).toEqual(alertNames);
  });

  it("shows no retired metrics on its dashboards: every query of every panel gives data", { timeout: PATIENCE_MS }, async () => {
    const panels = readPanels();
    const expressions = [...panels.flatMap(({ queries }) => queries), ...rules.map(({ expr }) => expr)];
    const names = [...new Set(expressions.flatMap(seriesOf))];
    expect(names.length).toBeGreaterThan(50);
    const absent: string[] = [];
    for (const name of names) if (!(await prometheus.hasSeries(name))) absent.push(name);
    expect(absent).toEqual([]);
    const empty: string[] = [];
    for (const { dashboard, title, queries } of panels) {
      for (const query of queries) {
        const series = await prometheus.history(filledIn(query));
        const hasData = series.some(({ values }) => values.some(([, value]) => value !== "NaN"));
        if (!hasData) empty.push(`${dashboard}: ${title}: ${query}`);
      }
    }
    expect(empty).toEqual([]);
  });
});
