import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../../packages/queue/test/redis-server.js";
import { spawnService } from "../../../packages/testing/src/processes/service.js";
import type { Gateway } from "../src/index.js";
import { ADMIN_KEY, AdminClient, bearer } from "./admin-client.js";
import { GatewayFixture, type JsonAnswer } from "./gateway-fixture.js";

let fixture: GatewayFixture;
let neighbour: Gateway;
let admin: AdminClient;
beforeAll(async () => {
  fixture = await GatewayFixture.start("plain", {
    MOIETY_ADMIN_KEY: ADMIN_KEY,
    MOIETY_API_KEYS: "fixed:a-static-key",
    MOIETY_TENANT_LEASE_MS: "1000",
    MOIETY_LIMIT_CONTEXT_TOKENS: "2000",
    MOIETY_EXPECTED_OUTPUT_TOKENS: "40",
  });
  neighbour = await fixture.startAnother();
  admin = new AdminClient(fixture);
});
afterAll(async () => {
  await neighbour?.close();
  await fixture?.close();
});

let tenant: string;
let key: string;
let tenants = 0;
beforeEach(async () => {
  tenants += 1;
  tenant = `tenant-${tenants}`;
  key = (await admin.key(tenant)).key;
  fixture.worker.claims.length = 0;
  fixture.worker.script = () => ({ tokens: Array.from({ length: 2_000 }, () => 65) });
});

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "x" }];
/** Ten tokens, and as many as it says. */
const body = (max_tokens: number, more: object = {}) => ({ prompt: "0123456789", max_tokens, ...more });
const ask = (max_tokens = 10, more: object = {}, by = key) => fixture.post(COMPLETIONS, body(max_tokens, more), bearer(by));
const stateOf = async (name = tenant) => (await admin.get(`tenants/${name}`)).body.now;
const hang = () => {
  fixture.worker.script = () => ({ tokens: [65], hang: true });
};

/** Asks the other gateway. */
async function askElsewhere(max_tokens = 10): Promise<number> {
  const init = { method: "POST", headers: { "content-type": "application/json", ...bearer(key) } };
  const url = `http://127.0.0.1:${neighbour.port}${COMPLETIONS}`;
  const response = await fetch(url, { ...init, body: JSON.stringify(body(max_tokens)) });
  await response.arrayBuffer();
  return response.status;
}

/** Sends a request that the worker never ends; gives how to hang up. */
function beginHanging(more: object = {}): () => void {
  const stop = new AbortController();
  const init = { method: "POST", headers: { "content-type": "application/json", ...bearer(key) }, signal: stop.signal };
  fetch(fixture.url + COMPLETIONS, { ...init, body: JSON.stringify(body(10, more)) }).catch(() => undefined);
  return () => stop.abort();
}

function expectRefused({ status, body: { error } }: JsonAnswer, code: string, type: string): void {
  expect([status, error.code, error.type, error.param]).toEqual([429, code, type, null]);
}

describe("a tenant's limit", () => {
  it("of requests per minute is a 429 with OpenAI's headers, at any gateway, and nobody else's", async () => {
    await admin.limit(tenant, { requests_per_minute: 3 });
    const other = (await admin.key("other")).key;
    const first = await ask();
    expect(first.status).toBe(200);
    expect(first.headers.get("x-ratelimit-limit-requests")).toBe("3");
    expect(first.headers.get("x-ratelimit-remaining-requests")).toBe("2");
    expect(first.headers.get("x-ratelimit-reset-requests")).toMatch(/^(20s|1\d\.?\d*s)$/);
    expect(first.headers.get("x-ratelimit-limit-tokens")).toBeNull();
    expect([await askElsewhere(), (await ask()).status]).toEqual([200, 200]);
    const refused = await ask();
    expectRefused(refused, "rate_limit_exceeded", "requests");
    expect(refused.body.error.message).toContain("requests per minute: limit 3");
    expect(refused.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    expect(refused.headers.get("x-ratelimit-reset-requests")).toMatch(/^(1m0s|5\d\.?\d*s|4\d\.?\d*s)$/);
    const retryAfter = Number(refused.headers.get("retry-after"));
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(20);
    expect(await askElsewhere()).toBe(429);
    expect((await ask(10, {}, other)).status).toBe(200);
    expect((await fixture.request("/metrics")).body).toMatch(
      /moiety_gateway_rejected_total\{[^}]*reason="tenant-limit"[^}]*\} [1-9]/,
    );
  });

  it("of tokens per minute counts what was asked for at first, and what was taken in the end", async () => {
    await admin.limit(tenant, { tokens_per_minute: 1_000 });
    fixture.worker.script = () => ({ tokens: [65, 65] });
    const remaining = async () => Number((await ask(80)).headers.get("x-ratelimit-remaining-tokens"));
    const first = await remaining();
    expect(first).toBe(1_000 - 90);
    const second = await remaining();
    // 12 were taken by the first; some have come back since.
    expect(second).toBeGreaterThanOrEqual(1_000 - 12 - 90);
    expect(second).toBeLessThan(first);
    const large = await ask(1_500);
    expect([large.status, large.headers.get("retry-after")]).toEqual([429, expect.stringMatching(/^\d$/)]);
    expectRefused(large, "rate_limit_exceeded", "tokens");
    expect(large.body.error.message).toMatch(/limit 1000, left \d+, requested 1510/);
  });

  it("of tokens per minute lets in what exceeds it when all is there, and lets others pay for that first", async () => {
    await admin.limit(tenant, { tokens_per_minute: 600 });
    expect((await ask(1_190)).status).toBe(200);
    const refused = await ask(1);
    expectRefused(refused, "rate_limit_exceeded", "tokens");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(50);
  });

  it("of requests at once counts choices, and places come back when answers end or clients leave", async () => {
    await admin.limit(tenant, { concurrent_requests: 3 });
    hang();
    const leave = beginHanging({ n: 2 });
    await until(() => fixture.worker.claims.length === 2);
    expect(await stateOf()).toMatchObject({ concurrent_requests: 2 });
    const refused = await ask(1, { n: 2 });
    expectRefused(refused, "rate_limit_exceeded", "requests");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await ask(1, { n: 4 })).toMatchObject({ status: 400, body: { error: { param: "n" } } });
    fixture.worker.script = () => ({ tokens: [65] });
    for (let round = 0; round < 4; round += 1) expect((await ask(1)).status).toBe(200);
    leave();
    await until(async () => (await stateOf()).concurrent_requests === 0);
    expect((await ask(1, { n: 3 })).status).toBe(200);
    expect((await stateOf()).concurrent_requests).toBe(0);
  });

  it("of tokens per day or month is a spent quota, of what is reserved too, until it is given more", async () => {
    for (const period of ["day", "month"]) {
      await admin.limit(tenant, { [`tokens_per_${period}`]: 100 });
      await until(async () => (await ask(200)).status === 429, 2_000);
      const before = await stateOf();
      const [used] = [period === "day" ? before.tokens_today : before.tokens_this_month];
      expect((await ask(90 - used)).status).toBe(200);
      expect((await stateOf()).tokens_today).toBe(100);
      const refused = await ask(1);
      expectRefused(refused, "insufficient_quota", "insufficient_quota");
      expect(refused.body.error.message).toContain(`tokens per ${period}: limit 100, spent or reserved 100`);
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
      await admin.limit(tenant, { [`tokens_per_${period}`]: 1_000_000 });
      await until(async () => (await ask(1)).status === 200, 3_000);
      await admin.limit(tenant, { [`tokens_per_${period}`]: null });
      tenant = `${tenant}-again`;
      key = (await admin.key(tenant)).key;
    }
  });

  it("of context, priority and models is an error that names the field", async () => {
    await admin.limit(tenant, { context_tokens: 100, most_urgent_priority: 5, models: ["tiny"] });
    const refusals: readonly (readonly [object, number, string, string])[] = [
      [{ prompt: "x".repeat(100) }, 400, "prompt", "context_length_exceeded"],
      [{ prompt: "x".repeat(50), max_tokens: 51 }, 400, "max_tokens", "context_length_exceeded"],
      [{ prompt: "x", priority: 4 }, 403, "priority", "priority_not_allowed"],
    ];
    for (const [asked, status, param, code] of refusals) {
      const answer = await fixture.post(COMPLETIONS, asked, bearer(key));
      expect([answer.status, answer.body.error.param, answer.body.error.code]).toEqual([status, param, code]);
    }
    expect((await fixture.post(COMPLETIONS, { prompt: "x".repeat(50), max_tokens: 50 }, bearer(key))).status).toBe(200);
    const unlimited = await fixture.post(CHAT, { messages }, bearer(key));
    expect(unlimited.status).toBe(200);
    const { promptTokens, params, priority } = fixture.worker.last.record;
    expect(promptTokens.length + params.maxTokens).toBe(100);
    expect(priority).toBe(1_005);
    await admin.limit(tenant, { models: ["another"] });
    await until(async () => (await ask()).status === 403, 3_000);
    for (const [path, asked] of [
      [CHAT, { messages }],
      ["/v1/responses", { input: "x" }],
    ] as const) {
      expect(await fixture.post(path, asked, bearer(key))).toMatchObject({ status: 403, body: { error: { param: "model" } } });
    }
  });

  it("by default holds for those without a record, static keys' tenants too, and can be taken away", async () => {
    const long = { prompt: "x", max_tokens: 2_500 };
    const refused = async (by: string) => (await fixture.post(COMPLETIONS, long, bearer(by))).status === 400;
    expect([await refused(key), await refused("a-static-key")]).toEqual([true, true]);
    await admin.limit(tenant, { context_tokens: null });
    await until(async () => !(await refused(key)), 3_000);
    await admin.limit("fixed", { context_tokens: 3_000 });
    await until(async () => !(await refused("a-static-key")), 3_000);
    expect((await admin.delete("tenants/fixed")).status).toBe(200);
    await until(() => refused("a-static-key"), 3_000);
    expect((await admin.delete("tenants/fixed")).status).toBe(404);
  });

  it("holds for responses, in the background too", async () => {
    await admin.limit(tenant, { concurrent_requests: 1 });
    hang();
    const begun = await fixture.post("/v1/responses", { input: "x", background: true }, bearer(key));
    expect(begun.status).toBe(200);
    expectRefused(await fixture.post("/v1/responses", { input: "y" }, bearer(key)), "rate_limit_exceeded", "requests");
    await fixture.post(`/v1/responses/${begun.body.id}/cancel`, {}, bearer(key));
    fixture.worker.script = () => ({ tokens: [65] });
    await until(async () => (await fixture.post("/v1/responses", { input: "z" }, bearer(key))).status === 200, 5_000);
  });

  it("is not used up by a request for which the queue had no room", async () => {
    const full = await GatewayFixture.start("plain", { MOIETY_ADMIN_KEY: ADMIN_KEY, MOIETY_MAX_REQUESTS: "1" });
    try {
      const boss = new AdminClient(full);
      await boss.limit("a", { requests_per_minute: 2, tokens_per_day: 1_000 });
      const own = (await boss.key("a")).key;
      full.worker.script = () => ({ tokens: [65], hang: true });
      const stop = new AbortController();
      const init = { method: "POST", headers: { "content-type": "application/json", ...bearer(own) }, signal: stop.signal };
      fetch(full.url + COMPLETIONS, { ...init, body: JSON.stringify(body(5)) }).catch(() => undefined);
      await until(() => full.worker.claims.length === 1);
      for (let round = 0; round < 3; round += 1) {
        const refused = await full.post(COMPLETIONS, body(5), bearer(own));
        expect(refused.body.error.message).toContain("the queue is full");
      }
      expect((await boss.get("tenants/a")).body.now).toEqual({
        concurrent_requests: 1,
        tokens_today: 15,
        tokens_this_month: 15,
      });
      stop.abort();
    } finally {
      await full.close();
    }
  });
});

describe("what a gateway that dies had admitted", () => {
  it("keeps its places while it is answered, then gives them back and is counted, once", async () => {
    await admin.limit(tenant, { concurrent_requests: 2 });
    const { MOIETY_HTTP_PORT: _port, ...env } = fixture.environment;
    const process = await spawnService({ name: "gateway-b", run: { service: "gateway" }, env });
    try {
      await process.waitReady(20_000);
      let finish = () => {};
      const finished = new Promise<void>((resolve) => (finish = resolve));
      fixture.worker.script = () => ({ tokens: [65, 65, 65], before: (index) => (index === 2 ? finished : Promise.resolve()) });
      const init = { method: "POST", headers: { "content-type": "application/json", ...bearer(key) } };
      const asked = fetch(process.httpUrl + COMPLETIONS, { ...init, body: JSON.stringify(body(3, { n: 2 })) });
      asked.catch(() => undefined);
      await until(() => fixture.worker.claims.length === 2);
      await process.kill();
      // Longer than its lease: others have to vouch for it now.
      for (let look = 0; look < 30; look += 1) {
        expect((await stateOf()).concurrent_requests).toBe(2);
        await sleep(100);
      }
      expect((await ask(1)).status).toBe(429);
      finish();
      await until(async () => (await stateOf()).concurrent_requests === 0, 10_000);
      expect((await stateOf()).tokens_today).toBe(10 + 6);
      const { data } = (await admin.get(`usage?tenant=${tenant}`)).body;
      expect(data).toMatchObject([{ requests: 1, prompt_tokens: 10, completion_tokens: 6 }]);
      expect((await ask(1)).status).toBe(200);
    } finally {
      await process.kill();
    }
  }, 60_000);
});

describe("tenants' records", () => {
  it("are changed field by field, listed, and forgotten", async () => {
    const made = await admin.post(`tenants/${tenant}`, {
      limits: { requests_per_minute: 5, models: ["tiny"] },
      audit_text: true,
    });
    expect(made.body).toMatchObject({
      id: tenant,
      limits: { requests_per_minute: 5, tokens_per_minute: "default", context_tokens: "default", models: ["tiny"] },
      effective_limits: { requests_per_minute: 5, tokens_per_minute: null, context_tokens: 2_000, models: ["tiny"] },
      audit_text: true,
    });
    await admin.post(`tenants/${tenant}`, { limits: { context_tokens: null, requests_per_minute: "default" } });
    const { body: shown } = await admin.get(`tenants/${tenant}`);
    expect(shown).toMatchObject({
      limits: { requests_per_minute: "default", context_tokens: null, models: ["tiny"] },
      effective_limits: { requests_per_minute: null, context_tokens: null },
      audit_text: true,
      now: { concurrent_requests: 0, tokens_today: 0, tokens_this_month: 0 },
    });
    const { data } = (await admin.get("tenants")).body;
    expect(data.filter(({ id }: { id: string }) => id === tenant)).toHaveLength(1);
    expect((await admin.delete(`tenants/${tenant}`)).body).toEqual({ id: tenant, object: "tenant", deleted: true });
    expect((await admin.get(`tenants/${tenant}`)).body).toMatchObject({ created_at: null, limits: { models: "default" } });
  });

  it.each<[fault: string, body: unknown, param: string]>([
    ["a limit of nothing", { limits: { requests_per_minute: 0 } }, "limits.requests_per_minute"],
    ["a limit that is no number", { limits: { tokens_per_day: "many" } }, "limits.tokens_per_day"],
    ["a priority beyond the API's", { limits: { most_urgent_priority: -2_000 } }, "limits.most_urgent_priority"],
    ["a model that is no name", { limits: { models: [1] } }, "limits.models"],
    ["a switch that is none", { audit_text: "yes" }, "audit_text"],
  ])("are not made of %s", async (_, asked, param) => {
    expect(await admin.post(`tenants/${tenant}`, asked)).toMatchObject({ status: 400, body: { error: { param } } });
  });

  it("are nobody's but those who have the admin key", async () => {
    for (const path of ["tenants", `tenants/${tenant}`, "usage", "audit"]) {
      expect((await fixture.request(`/admin/v1/${path}`, { headers: bearer(key) })).status).toBe(401);
    }
  });
});
