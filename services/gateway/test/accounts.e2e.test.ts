import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { rawClient } from "../../../packages/queue/test/fixtures.js";
import { until } from "../../../packages/queue/test/redis-server.js";
import { ADMIN_KEY, AdminClient, bearer } from "./admin-client.js";
import { BatchClient } from "./batch-client.js";
import { GatewayFixture } from "./gateway-fixture.js";

let fixture: GatewayFixture;
let admin: AdminClient;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "moiety-accounts-"));
  fixture = await GatewayFixture.start("plain", {
    MOIETY_ADMIN_KEY: ADMIN_KEY,
    MOIETY_API_KEYS: "fixed:a-static-key",
    MOIETY_FILES_DIR: directory,
    MOIETY_TENANT_LEASE_MS: "1000",
    MOIETY_AUDIT_ENTRIES: "5000",
    MOIETY_AUDIT_TEXT_CHARACTERS: "12",
  });
  admin = new AdminClient(fixture);
});
afterAll(async () => {
  await fixture?.close();
  await rm(directory, { recursive: true, force: true });
});

let tenant: string;
let key: string;
let keyId: string;
let tenants = 0;
beforeEach(async () => {
  tenants += 1;
  tenant = `tenant-${tenants}`;
  ({ key, id: keyId } = await admin.key(tenant));
  fixture.worker.claims.length = 0;
  const text = await fixture.ids("The answer of the worker.");
  fixture.worker.script = () => ({ tokens: text, finish: { cachedTokens: 3 } });
});

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "a question" }];
const ask = (path: string, body: object, by = key) => fixture.post(path, body, bearer(by));
const usage = async (query = "") => (await admin.get(`usage?tenant=${tenant}${query}`)).body.data;
const today = () => new Date().toISOString().slice(0, 10);

interface Usage {
  readonly requests: number;
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
  readonly completion_tokens: number;
}
const NOTHING: Usage = { requests: 0, prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 };

/** Adds up what answers say themselves. */
// biome-ignore lint/suspicious/noExplicitAny: answers have many shapes
function told(answers: readonly any[]): Usage {
  return answers.reduce((sum: Usage, { usage: of }) => {
    const details = of.prompt_tokens_details ?? of.input_tokens_details;
    return {
      requests: sum.requests + 1,
      prompt_tokens: sum.prompt_tokens + (of.prompt_tokens ?? of.input_tokens),
      cached_tokens: sum.cached_tokens + details.cached_tokens,
      completion_tokens: sum.completion_tokens + (of.completion_tokens ?? of.output_tokens),
    };
  }, NOTHING);
}

describe("the usage of a key", () => {
  it("is what its answers say, of every endpoint, streamed or not", async () => {
    const answers = [
      (await ask(CHAT, { messages, n: 2 })).body,
      (await ask(CHAT, { messages, stop: "answer" })).body,
      (await ask(COMPLETIONS, { prompt: ["one", "two", "three"], n: 2, max_tokens: 9 })).body,
      (await ask("/v1/responses", { input: "a question", store: false })).body,
      (await ask("/v1/responses", { input: "a question" })).body,
    ];
    for (const [path, more] of [
      [CHAT, { messages }],
      [COMPLETIONS, { prompt: "x", max_tokens: 4 }],
    ] as const) {
      const response = await fetch(fixture.url + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...bearer(key) },
        body: JSON.stringify({ ...more, stream: true, stream_options: { include_usage: true } }),
      });
      const events = (await response.text()).split("\n\n").filter((event) => event.includes('"usage":{'));
      answers.push(JSON.parse(events.at(-1)?.slice(6) ?? "{}"));
    }
    expect(await usage()).toEqual([{ day: today(), tenant, key_id: keyId, ...told(answers) }]);
    const begun = await ask("/v1/responses", { input: "a question", background: true });
    const read = () => fixture.request(`/v1/responses/${begun.body.id}`, { headers: bearer(key) });
    await until(async () => (await read()).body.status === "completed");
    answers.push((await read()).body);
    await until(async () => (await usage())[0].requests === answers.length);
    expect((await usage())[0]).toMatchObject(told(answers));
  });

  it("counts a stream that its client left, as far as it went, and nothing that was refused or failed before", async () => {
    fixture.worker.script = () => ({ tokens: [65, 65, 65], hang: true });
    const stop = new AbortController();
    const response = await fetch(fixture.url + COMPLETIONS, {
      method: "POST",
      headers: { "content-type": "application/json", ...bearer(key) },
      body: JSON.stringify({ prompt: "01234", max_tokens: 50, stream: true }),
      signal: stop.signal,
    });
    let text = "";
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      if (text.split("\n\n").length > 3) break;
    }
    stop.abort();
    await until(async () => (await usage()).length === 1);
    expect((await usage())[0]).toMatchObject({ requests: 1, prompt_tokens: 5, completion_tokens: 3 });
    fixture.worker.script = () => ({ tokens: [], finish: { reason: "error", error: { code: "INTERNAL", message: "x" } } });
    expect((await ask(COMPLETIONS, { prompt: "x" })).status).toBe(500);
    expect((await ask(COMPLETIONS, { prompt: "x", n: 0 })).status).toBe(400);
    expect((await usage())[0]).toMatchObject({ requests: 1, prompt_tokens: 5, completion_tokens: 3 });
  });

  it("counts the lines of a batch, by the key that it came with, once each, though another gateway goes on with it", async () => {
    const before = await fixture.startAnother();
    const client = new BatchClient(`http://127.0.0.1:${before.port}`, key);
    let claimed = 0;
    const tokens = await fixture.ids("An answer.");
    fixture.worker.script = () => {
      claimed += 1;
      return { tokens, delayMs: 5 };
    };
    const bodies = Array.from({ length: 40 }, (_, line) => ({ prompt: `line ${line}`, max_tokens: 8 }));
    const { id } = await client.begin(bodies);
    await until(() => claimed > 6, 20_000);
    await before.close();
    const other = new BatchClient(fixture.url, key);
    const batch = await other.ended(id, 30_000);
    expect(batch.request_counts).toMatchObject({ completed: 40 });
    const answers = (await other.results(batch.output_file_id)).map(({ response }) => response.body);
    await until(async () => (await usage())[0]?.requests === 40);
    expect(await usage()).toEqual([{ day: today(), tenant, key_id: keyId, ...told(answers) }]);
  }, 60_000);

  it("is kept apart by key, day and tenant, and can be asked for by each", async () => {
    const second = await admin.key(tenant);
    await ask(COMPLETIONS, { prompt: "x", max_tokens: 2 });
    await ask(COMPLETIONS, { prompt: "x", max_tokens: 3 }, second.key);
    await ask(COMPLETIONS, { prompt: "x", max_tokens: 3 }, second.key);
    await ask(COMPLETIONS, { prompt: "x", max_tokens: 1 }, "a-static-key");
    const tokensOf = (data: { key_id: string; completion_tokens: number }[]) =>
      new Map(data.map(({ key_id, completion_tokens }) => [key_id, completion_tokens]));
    expect(tokensOf(await usage())).toEqual(
      new Map([
        [keyId, 2],
        [second.id, 6],
      ]),
    );
    expect(tokensOf(await usage(`&key_id=${second.id}`))).toEqual(new Map([[second.id, 6]]));
    expect((await admin.get("usage?tenant=fixed")).body.data).toMatchObject([
      { key_id: expect.stringMatching(/^static-[0-9a-f]{8}$/), completion_tokens: 1 },
    ]);
    expect(await usage("&from=2020-01-01&to=2020-01-31")).toEqual([]);
    const wide = await admin.get("usage?from=2020-01-01&to=2024-01-31");
    expect([wide.status, wide.body.error.param]).toEqual([400, "from"]);
    expect((await admin.get("usage?from=2020-13-01")).body.error.param).toBe("from");
    const redis = rawClient(fixture.redis.url);
    const lifeS = await redis.ttl(`{moiety}:usage:${today()}`);
    redis.disconnect();
    expect(lifeS).toBeGreaterThan(89 * 86_400);
  });
});

describe("a batch of a tenant at its limits", () => {
  const bodies = (count: number) => Array.from({ length: count }, (_, line) => ({ prompt: `line ${line}`, max_tokens: 8 }));

  it("waits, holds up nobody else's, and goes on when it may", async () => {
    await admin.limit(tenant, { requests_per_minute: 2 });
    const client = new BatchClient(fixture.url, key);
    const { id } = await client.begin(bodies(24));
    await client.until(id, ({ request_counts }) => request_counts?.completed === 2);
    const other = new BatchClient(fixture.url, (await admin.key("other")).key);
    const { status } = await other.ended((await other.begin(bodies(24))).id);
    expect(status).toBe("completed");
    const waiting = await client.openai.batches.retrieve(id);
    expect(waiting).toMatchObject({ status: "in_progress", request_counts: { completed: 2, failed: 0 } });
    await admin.limit(tenant, { requests_per_minute: 1_000_000 });
    expect(await client.ended(id, 30_000)).toMatchObject({ status: "completed", request_counts: { completed: 24 } });
    await until(async () => (await usage())[0]?.requests === 24);
  }, 60_000);

  it("ends in errors where its budget is spent", async () => {
    await admin.limit(tenant, { tokens_per_day: 60 });
    const client = new BatchClient(fixture.url, key);
    const { id } = await client.begin(bodies(12));
    const batch = await client.ended(id);
    expect(batch.status).toBe("completed");
    const faults = await client.results(batch.error_file_id);
    expect(faults.length).toBeGreaterThan(0);
    for (const { response } of faults) {
      expect(response).toMatchObject({ status_code: 429, body: { error: { code: "insufficient_quota" } } });
    }
    const [day] = await usage();
    expect(day.prompt_tokens + day.completion_tokens).toBeLessThanOrEqual(60);
    expect(day.requests + faults.length).toBe(12);
    const denied = async () => (await admin.audit(`?tenant=${tenant}`)).filter(({ status }) => status === 429);
    await until(async () => (await denied()).reduce((sum, { count = 1 }) => sum + count, 0) === faults.length);
    expect((await denied())[0]).toMatchObject({ kind: "batch /v1/completions", code: "insufficient_quota" });
  }, 30_000);
});

describe("the audit log", () => {
  const entries = async (count: number) => {
    const read = () => admin.audit(`?tenant=${tenant}`);
    await until(async () => (await read()).length >= count);
    return read();
  };

  it("has who asked for what, when, how it ended and how many tokens, and no text", async () => {
    const secret = "what nobody may read";
    const asked = await ask(COMPLETIONS, { prompt: secret, max_tokens: 4 });
    await ask(CHAT, { messages: [{ role: "user", content: secret }], n: 2 });
    const [first, second] = await entries(2);
    expect(first).toEqual({
      id: expect.stringMatching(/^\d+-\d+$/),
      at: expect.stringMatching(/^20\d\d-.*Z$/),
      tenant,
      key_id: keyId,
      kind: "POST /v1/completions",
      request_id: asked.headers.get("x-request-id"),
      status: 200,
      finish_reason: "length",
      prompt_tokens: asked.body.usage.prompt_tokens,
      cached_tokens: 3,
      completion_tokens: 4,
    });
    expect(second).toMatchObject({ kind: "POST /v1/chat/completions", finish_reason: "stop,stop" });
    const redis = rawClient(fixture.redis.url);
    expect(JSON.stringify(await redis.xrange("{moiety}:audit", "-", "+"))).not.toContain(secret);
    redis.disconnect();
  });

  it("has text, cut short, of tenants that want it", async () => {
    await admin.post(`tenants/${tenant}`, { audit_text: true });
    await ask(COMPLETIONS, { prompt: "the beginning and the end" });
    expect((await entries(1))[0]).toMatchObject({ input: "the beginnin", output: "The answer o" });
  });

  it("has what was refused, equal refusals together, and what failed", async () => {
    await admin.limit(tenant, { requests_per_minute: 1, most_urgent_priority: 0 });
    fixture.worker.script = () => ({ tokens: [65], finish: { reason: "error", error: { code: "INTERNAL", message: "x" } } });
    await ask(COMPLETIONS, { prompt: "x", priority: -1 });
    await ask(CHAT, { messages: [] });
    expect((await ask(COMPLETIONS, { prompt: "x" })).status).toBe(500);
    for (let round = 0; round < 5; round += 1) await ask(COMPLETIONS, { prompt: "x" });
    const found = await entries(4);
    const named = (status: number) => found.filter((entry) => entry.status === status);
    expect(named(500)).toMatchObject([{ code: "internal_error", completion_tokens: 1 }]);
    const refused = named(429);
    expect(refused.every(({ code }) => code === "rate_limit_exceeded")).toBe(true);
    expect(refused.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(5);
    expect(refused.length).toBeLessThanOrEqual(2);
    expect(named(403)).toMatchObject([{ code: "priority_not_allowed" }]);
    expect(named(400)).toHaveLength(1);
  });

  it("has strangers, and whoever administers, by what they did to whom", async () => {
    expect((await fixture.request("/v1/models", { headers: bearer("moiety_wrong") })).status).toBe(401);
    await admin.delete(`keys/${keyId}`);
    const all = async () => (await admin.audit("?tenant=-&limit=10000")) as { [field: string]: unknown }[];
    const has = async (wanted: object) => {
      try {
        expect(await all()).toEqual(expect.arrayContaining([expect.objectContaining(wanted)]));
        return true;
      } catch {
        return false;
      }
    };
    await until(() => has({ kind: "GET /v1/models", key_id: "-", status: 401, code: "invalid_api_key" }));
    await until(() => has({ kind: "DELETE /admin/v1/keys/:id", key_id: "admin", status: 200, subject: keyId }));
    expect(JSON.stringify(await all())).not.toMatch(/moiety_wrong|admin-key-of/);
  });

  it("is read in pages, from the oldest on or from a time on", async () => {
    for (let index = 0; index < 7; index += 1) await ask(COMPLETIONS, { prompt: "x", max_tokens: index + 1 });
    const whole = await entries(7);
    const paged: object[] = [];
    let after = "";
    for (let pages = 0; pages < 4; pages += 1) {
      const query = `audit?tenant=${tenant}&limit=3${after === "" ? "" : `&after=${after}`}`;
      const response = await fetch(`${fixture.url}/admin/v1/${query}`, { headers: bearer(ADMIN_KEY) });
      expect(response.headers.get("content-type")).toContain("application/x-ndjson");
      const lines = (await response.text()).split("\n").filter(Boolean);
      paged.push(...lines.map((line) => JSON.parse(line)));
      after = response.headers.get("x-next-after") ?? "";
      if (after === "") break;
    }
    expect(paged).toEqual(whole);
    const from = Date.parse(whole[4].at) / 1_000;
    const later = await admin.audit(`?tenant=${tenant}&from=${from}`);
    expect(later.map(({ id }) => id)).toEqual(expect.arrayContaining([whole[5].id, whole[6].id]));
    expect(later.length).toBeLessThan(7);
    for (const [query, param] of [
      ["after=x", "after"],
      ["limit=0", "limit"],
      ["tenant=a%20b", "tenant"],
    ] as const) {
      expect((await admin.get(`audit?${query}`)).body.error.param).toBe(param);
    }
  });
});
