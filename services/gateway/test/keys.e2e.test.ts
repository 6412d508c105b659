import { createHash } from "node:crypto";
import { Writable } from "node:stream";
import { createLogger, parseConfig } from "@moiety/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rawClient } from "../../../packages/queue/test/fixtures.js";
import { until } from "../../../packages/queue/test/redis-server.js";
import { type Gateway, gatewayConfigSchema, serveGateway, startGateway } from "../src/index.js";
import { GatewayFixture, type JsonAnswer } from "./gateway-fixture.js";

const ADMIN_KEY = "admin-key-of-the-test";
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const ADMIN = bearer(ADMIN_KEY);

let fixture: GatewayFixture;
let others: Gateway[];
let logged: string;
beforeEach(async () => {
  others = [];
  logged = "";
  fixture = await GatewayFixture.start("none", { MOIETY_ADMIN_KEY: ADMIN_KEY, MOIETY_API_KEYS: "old:a-static-key" });
  fixture.worker.script = () => ({ tokens: [1] });
});
afterEach(async () => {
  await Promise.all(others.map((gateway) => gateway.close()));
  await fixture.close();
});

const create = (body: object = { tenant: "alice", name: "laptop" }) => fixture.post("/admin/v1/keys", body, ADMIN);
const ask = (key: string, body: object = {}) =>
  fixture.post("/v1/completions", { prompt: [1], max_tokens: 1, ...body }, bearer(key));
const change = (method: string, path: string) => fixture.request(`/admin/v1/keys/${path}`, { method, headers: ADMIN });

/** Another gateway of the cluster, whose log is kept. */
async function startLogging(): Promise<string> {
  const sink = new Writable({
    write: (chunk, _encoding, done) => {
      logged += String(chunk);
      done();
    },
  });
  const config = parseConfig(gatewayConfigSchema, fixture.environment);
  const gateway = await startGateway({
    config,
    logger: createLogger({ service: "gateway", instance: "test", level: "trace", destination: sink }),
  });
  others.push(gateway);
  return `http://127.0.0.1:${gateway.port}`;
}

function expectRefused(answer: Pick<JsonAnswer, "status" | "body">): void {
  expect(answer).toMatchObject({ status: 401, body: { error: { code: "invalid_api_key", type: "authentication_error" } } });
}

describe("API keys that are created while gateways run", () => {
  it("open the API for their tenant, beside those of the configuration", async () => {
    const { status, headers, body } = await create();
    expect(status).toBe(200);
    expect(headers.get("cache-control")).toBe("no-store");
    expect(body).toMatchObject({ object: "api_key", tenant: "alice", name: "laptop", rotated_at: null });
    expect((await ask(body.key, { cache_salt: "s" })).status).toBe(200);
    expect(fixture.worker.last.record).toMatchObject({ tenant: "alice", cacheSalt: "alice/s" });
    expect((await ask("a-static-key")).status).toBe(200);
    expect(fixture.worker.last.record).toMatchObject({ tenant: "old" });
  });

  it("are listed without their texts, which are stored nowhere", async () => {
    const made = [(await create()).body, (await create({ tenant: "bob" })).body];
    const { body } = await fixture.request("/admin/v1/keys", { headers: ADMIN });
    expect(body).toEqual({ object: "list", data: made.map(({ key: _, ...rest }) => rest) });
    const redis = rawClient(fixture.redis.url);
    const stored = JSON.stringify(await redis.hgetall("{moiety}:keys"));
    redis.disconnect();
    expect(stored).toContain(made[0].id);
    for (const { key } of made) expect(stored).not.toContain(key.split("_").at(-1));
  });

  it("are replaced and revoked with immediate effect on every gateway", async () => {
    const url = await startLogging();
    const elsewhere = async (key: string) => (await fetch(`${url}/v1/models`, { headers: bearer(key) })).status;
    const { id, key } = (await create()).body;
    expect(await elsewhere(key)).toBe(200);
    const rotated = (await change("POST", `${id}/rotate`)).body;
    expect(rotated).toMatchObject({ id, tenant: "alice", rotated_at: expect.any(Number) });
    expect(await elsewhere(key)).toBe(401);
    expect(await elsewhere(rotated.key)).toBe(200);
    expect((await change("DELETE", id)).body).toEqual({ id, object: "api_key", deleted: true });
    expect(await elsewhere(rotated.key)).toBe(401);
    expectRefused(await ask(rotated.key));
    for (const again of [await change("DELETE", id), await change("POST", `${id}/rotate`)]) {
      expect(again).toMatchObject({ status: 404, body: { error: { code: "not_found" } } });
    }
  });

  it("open nothing from the moment at which they expire", async () => {
    const soon = Math.ceil(Date.now() / 1_000) + 1;
    const { body } = await create({ tenant: "alice", expires_at: soon });
    expect(body.expires_at).toBe(soon);
    const early = await ask(body.key);
    if (Date.now() < soon * 1_000) expect(early.status).toBe(200);
    await until(() => Date.now() >= soon * 1_000);
    expectRefused(await ask(body.key));
    const late = await create({ tenant: "alice", expires_at: soon });
    expect(late).toMatchObject({ status: 400, body: { error: { param: "expires_at" } } });
    expect((await ask((await create({ tenant: "alice", expires_at: soon + 1_000 })).body.key)).status).toBe(200);
  });

  it("show in no log, metric or error", async () => {
    const url = await startLogging();
    const headers = { ...ADMIN, "content-type": "application/json" };
    const answer = await fetch(`${url}/admin/v1/keys`, { method: "POST", headers, body: JSON.stringify({ tenant: "alice" }) });
    const made = (await answer.json()) as { readonly id: string; readonly key: string };
    const wrong = `${made.key.slice(0, -4)}AAAA`;
    const seen: string[] = [];
    for (const key of [made.key, wrong, ADMIN_KEY, "a-static-key"]) {
      for (const path of ["/v1/models", "/v1/nothing", "/admin/v1/keys", "/admin/v1/keys/key_none"]) {
        seen.push(await (await fetch(url + path, { headers: bearer(key) })).text());
      }
    }
    await fixture.redis.kill();
    seen.push(await (await fetch(`${url}/v1/models`, { headers: bearer(made.key) })).text());
    await fixture.redis.restart();
    seen.push(await (await fetch(`${url}/metrics`)).text(), logged);
    expect(logged).toContain("API key created");
    expect(logged).toContain(made.id);
    for (const secret of [made.key, made.key.slice(-43), wrong, ADMIN_KEY, "a-static-key"]) {
      for (const text of seen) expect(text.includes(secret)).toBe(false);
    }
  });
});

describe("a gateway with an admin key", () => {
  it("answers nothing without a key but what is for orchestrators", async () => {
    const document = (await fixture.request("/openapi.json")).body;
    const open = ["/health", "/ready", "/metrics", "/load"];
    let refused = 0;
    for (const [template, methods] of Object.entries<object>(document.paths)) {
      const path = template.replace(/\{\w+\}/, "x");
      for (const method of Object.keys(methods)) {
        const needsFiles = /^\/v1\/(files|batches)/.test(path);
        const body = method === "post" ? { body: "{}", headers: { "content-type": "application/json" } } : {};
        const answer = await fixture.request(path, { method: method.toUpperCase(), ...body });
        if (open.includes(path)) expect([path, answer.status === 401]).toEqual([path, false]);
        else expect([path, answer.status, needsFiles]).toEqual([path, 401, needsFiles]);
        refused += answer.status === 401 ? 1 : 0;
      }
    }
    expect(refused).toBeGreaterThan(15);
  });

  it("lets nobody with a client's key at the keys, and nobody with the admin key at the model", async () => {
    const { key } = (await create()).body;
    for (const wrong of [key, "a-static-key", `${ADMIN_KEY}x`]) {
      expectRefused(await fixture.request("/admin/v1/keys", { headers: bearer(wrong) }));
      expectRefused(await fixture.post("/admin/v1/keys", { tenant: "eve" }, bearer(wrong)));
    }
    expectRefused(await ask(ADMIN_KEY));
  });

  it.each<[fault: string, body: unknown, param: string | null]>([
    ["no tenant", {}, "tenant"],
    ["a tenant that is no name", { tenant: "a b" }, "tenant"],
    ["a name that is too long", { tenant: "a", name: "n".repeat(257) }, "name"],
    ["a list", [], null],
  ])("refuses %s", async (_, body, param) => {
    expect(await fixture.post("/admin/v1/keys", body, ADMIN)).toMatchObject({ status: 400, body: { error: { param } } });
  });

  it("says 503 while Redis is away, and knows the keys again when it is back", async () => {
    const { key } = (await create()).body;
    await fixture.redis.kill();
    const answer = await fixture.request("/v1/models", { headers: bearer(key) });
    expect(answer).toMatchObject({ status: 503, body: { error: { code: "unavailable" } } });
    expect(answer.headers.get("retry-after")).toBe("1");
    expect((await fixture.request("/v1/models", { headers: bearer("a-static-key") })).status).toBe(200);
    expect((await fixture.request("/admin/v1/keys", { headers: ADMIN })).status).toBe(503);
    await fixture.redis.restart();
    expect((await fixture.request("/v1/models", { headers: bearer(key) })).status).toBe(200);
  });
});

it("a gateway without an admin key has no keys to manage", async () => {
  const { MOIETY_ADMIN_KEY: _, ...environment } = fixture.environment;
  const config = parseConfig(gatewayConfigSchema, environment);
  const gateway = await startGateway({ config, logger: createLogger({ service: "gateway", instance: "test", level: "silent" }) });
  others.push(gateway);
  expect((await fetch(`http://127.0.0.1:${gateway.port}/admin/v1/keys`, { headers: ADMIN })).status).toBe(404);
});

describe("static keys", () => {
  const hashOf = (key: string) => createHash("sha256").update(key).digest("hex");
  const start = async (keys: string): Promise<string> => {
    const gateway = await serveGateway({ ...fixture.environment, MOIETY_API_KEYS: keys });
    others.push(gateway);
    return `http://127.0.0.1:${gateway.port}`;
  };

  it("open the API by a hash in their place, which itself opens nothing", async () => {
    const [hash, other] = [hashOf("key-of-alice"), hashOf("key-of-bob")];
    const url = await start(
      `alice:sha256:${hash},bob/laptop:sha256:${other.toUpperCase()},sha256:${hashOf("a-key-of-nobody")},carol:plain-key`,
    );
    const asked = async (key: string) => (await fetch(`${url}/v1/models`, { headers: bearer(key) })).status;
    for (const key of ["key-of-alice", "key-of-bob", "a-key-of-nobody", "plain-key"])
      expect([key, await asked(key)]).toEqual([key, 200]);
    for (const key of [hash, `sha256:${hash}`, other, "key-of-carol"]) expect([key, await asked(key)]).toEqual([key, 401]);
  });

  it.each([
    ["alice:sha256:", "64 hexadecimal digits"],
    [`alice:sha256:${"g".repeat(64)}`, "64 hexadecimal digits"],
    [`alice:sha256:${"0".repeat(63)}`, "64 hexadecimal digits"],
    ["sha256:a-plain-key", "64 hexadecimal digits"],
    ["alice/:key-of-alice", "a name of 1 to 64 characters"],
    ["alice/a/b:key-of-alice", "a name of 1 to 64 characters"],
    ["/laptop:key-of-alice", "tenant id"],
    ["alice:short", "at least 8 characters"],
  ])("are not taken as %s", async (line, message) => {
    const started = start(`bob:key-of-bob,${line}`);
    await expect(started).rejects.toThrow(`API key 2: ${message.startsWith("tenant") ? "" : "expected "}${message}`);
    await expect(started).rejects.not.toThrow(/key-of|short/);
  });

  it("are counted each by its name, or by the first digits of its hash", async () => {
    const url = await start(`alice/laptop:key-of-alice,alice/server:sha256:${hashOf("key-of-her-server")},alice:a-third-key`);
    for (const [key, times] of [
      ["key-of-alice", 1],
      ["key-of-her-server", 2],
      ["a-third-key", 3],
    ] as const) {
      for (let round = 0; round < times; round += 1) {
        const init = { method: "POST", headers: { "content-type": "application/json", ...bearer(key) } };
        const answer = await fetch(`${url}/v1/completions`, { ...init, body: JSON.stringify({ prompt: [1], max_tokens: 1 }) });
        expect(answer.status).toBe(200);
      }
    }
    const byKey = async () => {
      const { data } = (await fixture.request("/admin/v1/usage?tenant=alice", { headers: ADMIN })).body;
      return Object.fromEntries(data.map((row: { key_id: string; requests: number }) => [row.key_id, row.requests]));
    };
    const third = `static-${hashOf("a-third-key").slice(0, 8)}`;
    await until(async () => Object.keys(await byKey()).length === 3);
    await until(async () => (await byKey())[third] === 3);
    expect(await byKey()).toEqual({ "static-laptop": 1, "static-server": 2, [third]: 3 });
  });
});
