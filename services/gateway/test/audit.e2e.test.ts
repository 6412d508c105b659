import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rawClient } from "../../../packages/queue/test/fixtures.js";
import { until } from "../../../packages/queue/test/redis-server.js";
import { ADMIN_KEY, AdminClient, bearer } from "./admin-client.js";
import { GatewayFixture } from "./gateway-fixture.js";

/** What is kept of the audit log, what is not, and what the metrics say of that. */

let fixture: GatewayFixture;
let admin: AdminClient;
async function start(environment: Readonly<Record<string, string>> = {}): Promise<void> {
  fixture = await GatewayFixture.start("none", { MOIETY_ADMIN_KEY: ADMIN_KEY, ...environment });
  admin = new AdminClient(fixture);
  fixture.worker.script = () => ({ tokens: [1] });
}
let key: string;
beforeEach(() => {
  key = "";
});
afterEach(() => fixture.close());

async function answer(times: number): Promise<void> {
  if (key === "") key = (await admin.key("alice")).key;
  const one = () => fixture.post("/v1/completions", { prompt: [1], max_tokens: 1 }, bearer(key));
  for (let left = times; left > 0; left -= 10) {
    await Promise.all(Array.from({ length: Math.min(10, left) }, one));
  }
}

/** Of a counter of the audit log. */
async function counted(name: string): Promise<number> {
  const { body } = await fixture.request("/metrics");
  const [, value] = new RegExp(`^moiety_audit_${name.replace(/[{}]/g, ".*")}.* (\\d+)$`, "m").exec(body) ?? [];
  return Number(value);
}

async function length(): Promise<number> {
  const redis = rawClient(fixture.redis.url);
  const entries = await redis.xlen("{moiety}:audit");
  redis.disconnect();
  return entries;
}

describe("the audit log", () => {
  it("keeps so many entries, cuts off the oldest, and says so", async () => {
    await start({ MOIETY_AUDIT_ENTRIES: "100" });
    await answer(1);
    const first = async () => (await admin.audit("?tenant=alice&limit=1"))[0]?.id;
    await until(async () => (await first()) !== undefined);
    const id = await first();
    const read = (after: string) => fetch(`${fixture.url}/admin/v1/audit?after=${after}`, { headers: bearer(ADMIN_KEY) });
    expect((await read(id)).headers.get("x-entries-cut")).toBeNull();
    await answer(350);
    await until(async () => (await counted("entries_total")) >= 351);
    const kept = await length();
    expect(kept).toBeGreaterThanOrEqual(100);
    expect(kept).toBeLessThanOrEqual(300);
    expect(await counted('trimmed_total{reason="entries"}')).toBe((await counted("entries_total")) - (await length()));
    expect(await counted('trimmed_total{reason="days"}')).toBe(0);
    const page = await read(id);
    expect(page.headers.get("x-entries-cut")).toBe("true");
    const last = page.headers.get("x-last-id") ?? "";
    expect((await page.text()).trim().split("\n").at(-1)).toContain(`"id":"${last}"`);
    expect((await read(last)).headers.get("x-entries-cut")).toBeNull();
  }, 60_000);

  it.each([
    ["30", 1],
    ["0", 302],
  ])("with %s days has old entries no more, or all of them", async (days, least) => {
    await start({ MOIETY_AUDIT_DAYS: days });
    const redis = rawClient(fixture.redis.url);
    const old = Date.now() - 31 * 86_400_000;
    for (let index = 0; index < 301; index += 1) await redis.xadd("{moiety}:audit", `${old + index}-0`, "tenant", "old");
    redis.disconnect();
    await answer(1);
    await until(async () => (await counted("entries_total")) >= 1);
    // Whole nodes of a hundred go.
    expect(await length()).toBeGreaterThanOrEqual(least);
    const trimmed = await counted('trimmed_total{reason="days"}');
    if (days === "0") expect(trimmed).toBe(0);
    else expect(trimmed).toBeGreaterThanOrEqual(200);
  });

  it("can be left out", async () => {
    await start({ MOIETY_AUDIT_ENTRIES: "0" });
    await answer(10);
    expect((await fixture.request("/v1/models")).status).toBe(401);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect([await length(), await counted("entries_total")]).toEqual([0, 0]);
  });

  it("waits for a Redis that is away, and then has what was refused meanwhile, once, and of too many kinds their number", async () => {
    await start();
    await admin.key("alice");
    await until(async () => (await counted("entries_total")) === 1);
    await fixture.redis.kill();
    for (let round = 0; round < 3; round += 1) {
      expect((await fixture.request("/v1/models", { headers: bearer("nobodys-key") })).status).toBe(401);
      // Longer than entries are gathered: some are on their way when Redis comes back.
      await new Promise((resolve) => setTimeout(resolve, 1_200));
    }
    const strange = Array.from({ length: 520 }, (_, index) =>
      fixture.request(`/admin/v1/tenants/t-${index}`, { headers: bearer(ADMIN_KEY) }),
    );
    expect(new Set((await Promise.all(strange)).map(({ status }) => status))).toEqual(new Set([503]));
    const lost = await counted('lost_total{reason="crowded"}');
    expect(lost).toBeGreaterThanOrEqual(20);
    expect(lost).toBeLessThan(40);
    await fixture.redis.restart();
    const all = () => admin.audit("?tenant=-&limit=10000");
    const sum = async (kind: string) =>
      (await all()).filter((entry) => entry.kind === kind).reduce((total, { count = 1 }) => total + count, 0);
    await until(async () => (await sum("many")) > 0, 15_000);
    expect(await sum("GET /v1/models")).toBe(3);
    expect((await sum("GET /admin/v1/tenants/:tenant")) + lost).toBe(520);
    expect(await sum("many")).toBe(await counted('lost_total{reason="crowded"}'));
    expect(await counted('lost_total{reason="redis"}')).toBe(0);
  }, 90_000);

  it("does not fill with the looks of those who follow it", async () => {
    await start();
    await answer(1);
    await until(async () => (await counted("entries_total")) >= 2);
    const [{ id }] = await admin.audit("?limit=1");
    for (let look = 0; look < 20; look += 1) await admin.audit(`?after=${id}`);
    await admin.audit("?limit=1");
    const redis = rawClient(fixture.redis.url);
    const looks = async () => {
      const lines = (await redis.xrange("{moiety}:audit", "-", "+")).map(([, fields]) => fields);
      const counts = lines.filter((fields) => fields.includes("GET /admin/v1/audit"));
      return counts.reduce(
        (sum, fields) => sum + (fields.includes("count") ? Number(fields[fields.indexOf("count") + 1]) : 1),
        0,
      );
    };
    await until(async () => (await looks()) > 0);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    // Both that read from the beginning, and the first that goes on.
    expect(await looks()).toBe(3);
    redis.disconnect();
  });
});
