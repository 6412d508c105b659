import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../../packages/queue/test/redis-server.js";
import type { Gateway } from "../src/index.js";
import { ADMIN_KEY, AdminClient, bearer } from "./admin-client.js";
import { GatewayFixture } from "./gateway-fixture.js";

/** Whatever requests come to, what a tenant has in hand, has spent and has used agree in the end. */

let fixture: GatewayFixture;
let neighbour: Gateway;
let admin: AdminClient;
let tenant: string;
let key: string;
let tenants = 0;
beforeAll(async () => {
  fixture = await GatewayFixture.start("none", { MOIETY_ADMIN_KEY: ADMIN_KEY, MOIETY_TENANT_LEASE_MS: "2000" });
  neighbour = await fixture.startAnother();
  admin = new AdminClient(fixture);
});
afterAll(async () => {
  await neighbour?.close();
  await fixture?.close();
});
beforeEach(async () => {
  tenants += 1;
  tenant = `tenant-${tenants}`;
  key = (await admin.key(tenant)).key;
  fixture.worker.claims.length = 0;
});

const urlOf = (index: number) => (index % 2 === 0 ? fixture.url : `http://127.0.0.1:${neighbour.port}`);

/** The status of an answer; 0 when the client left before it. */
async function ask(index: number, body: object, signal?: AbortSignal): Promise<number> {
  const init = { method: "POST", headers: { "content-type": "application/json", ...bearer(key) }, body: JSON.stringify(body) };
  try {
    const response = await fetch(`${urlOf(index)}/v1/completions`, { ...init, ...(signal ? { signal } : {}) });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

const stateOf = async () => (await admin.get(`tenants/${tenant}`)).body.now;
async function used(): Promise<{ requests: number; tokens: number }> {
  const [day] = (await admin.get(`usage?tenant=${tenant}`)).body.data;
  return day ? { requests: day.requests, tokens: day.prompt_tokens + day.completion_tokens } : { requests: 0, tokens: 0 };
}

describe("a tenant's books", () => {
  it("give no place away twice, however many ask for it at once at two gateways", async () => {
    await admin.limit(tenant, { concurrent_requests: 5 });
    fixture.worker.script = () => ({ tokens: [1], hang: true });
    const stop = new AbortController();
    const asked = Array.from({ length: 60 }, (_, index) => ask(index, { prompt: [1, 2], max_tokens: 4 }, stop.signal));
    const refused = () => Promise.all(asked.map((each) => Promise.race([each, Promise.resolve(undefined)])));
    await until(async () => (await refused()).filter((status) => status === 429).length === 55, 20_000);
    expect((await stateOf()).concurrent_requests).toBe(5);
    expect(fixture.worker.claims.length).toBe(5);
    stop.abort();
    await until(async () => (await stateOf()).concurrent_requests === 0);
  }, 40_000);

  it("agree after answers, errors, refusals, and clients that leave, at two gateways", async () => {
    await admin.limit(tenant, { concurrent_requests: 12, tokens_per_minute: 1_000_000 });
    fixture.worker.script = ({ record }) => {
      const kind = record.promptTokens[0] ?? 0;
      const tokens = Array.from({ length: 1 + (kind % 5) }, () => 7);
      if (kind === 1) return { tokens, finish: { reason: "error", error: { code: "INTERNAL", message: "x" } } };
      if (kind === 2) return { tokens: [], finish: { reason: "error", error: { code: "INTERNAL", message: "x" } } };
      return { tokens, delayMs: kind % 3, hang: kind === 3 };
    };
    const statuses = await Promise.all(
      Array.from({ length: 120 }, async (_, index) => {
        const kind = index % 7;
        const stop = new AbortController();
        const body = { prompt: [kind, 5, 6], max_tokens: 6, n: 1 + (index % 3), stream: index % 4 === 0 };
        if (kind === 3) setTimeout(() => stop.abort(), 100 + index);
        return ask(index, body, stop.signal);
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([0, 200, 429, 500]));
    await until(async () => (await stateOf()).concurrent_requests === 0, 15_000);
    const { tokens_today, tokens_this_month } = await stateOf();
    const { tokens } = await used();
    expect(tokens).toBeGreaterThan(100);
    expect([tokens_today, tokens_this_month]).toEqual([tokens, tokens]);
  }, 60_000);

  it("count a request once that was answered over a Redis that was killed and came back", async () => {
    await admin.limit(tenant, { concurrent_requests: 3, tokens_per_day: 10_000 });
    let go = () => {};
    const gate = new Promise<void>((resolve) => (go = resolve));
    fixture.worker.script = () => ({ tokens: [1, 2, 3, 4], before: (index) => (index === 2 ? gate : Promise.resolve()) });
    const asked = [0, 1, 2].map((index) => ask(index, { prompt: [1, 2], max_tokens: 4 }));
    await until(() => fixture.worker.claims.length === 3);
    await fixture.redis.written();
    await fixture.redis.kill();
    await fixture.redis.restart();
    go();
    expect(await Promise.all(asked)).toEqual([200, 200, 200]);
    await until(async () => (await used()).requests === 3, 15_000);
    await until(async () => (await stateOf()).concurrent_requests === 0, 15_000);
    expect(await used()).toEqual({ requests: 3, tokens: 18 });
    expect((await stateOf()).tokens_today).toBe(18);
    fixture.worker.script = () => ({ tokens: [1] });
    expect(await ask(0, { prompt: [1], max_tokens: 1 })).toBe(200);
  }, 60_000);
});
