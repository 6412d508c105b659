import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type RedisHandle, type ServiceHandle, spawnService, startRedis } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { moiety } from "./test-model.js";

const ADMIN_KEY = "admin-key-of-the-test";
const model = fileURLToPath(new URL("../models/moiety-tiny", import.meta.url));

let redis: RedisHandle;
let gateway: ServiceHandle;
beforeAll(async () => {
  redis = await startRedis();
  const env = { MOIETY_MODEL: model, MOIETY_REDIS_URL: redis.url, MOIETY_ADMIN_KEY: ADMIN_KEY, MOIETY_LOG_LEVEL: "warn" };
  gateway = await spawnService({ name: "gateway", run: { service: "gateway" }, env });
  await gateway.waitHealthy(30_000);
}, 60_000);
afterAll(async () => {
  await gateway?.kill();
  await redis?.close();
});

/** Lines that a command prints. */
async function run(...args: readonly string[]): Promise<string[]> {
  const env = { ...process.env, MOIETY_URL: gateway.httpUrl, MOIETY_ADMIN_KEY: ADMIN_KEY };
  const { stdout } = await promisify(execFile)(process.execPath, [moiety, ...args], { env });
  return stdout.split("\n").filter(Boolean);
}

const statusOf = async (key: string) =>
  (await fetch(`${gateway.httpUrl}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;

describe("moiety keys", () => {
  it("creates, lists, rotates and revokes keys", async () => {
    const [key = ""] = await run("keys", "create", "--tenant", "search", "--name", "production", "--expires-in", "90d");
    expect(await statusOf(key)).toBe(200);
    const [line = "", ...more] = await run("keys", "list");
    expect(more).toEqual([]);
    const [id = "", tenant, created, expires, name] = line.split("\t");
    expect([tenant, name]).toEqual(["search", "production"]);
    expect(Math.round((Date.parse(expires ?? "") - Date.parse(created ?? "")) / 86_400_000)).toBe(90);
    const [rotated = ""] = await run("keys", "rotate", id);
    expect([await statusOf(key), await statusOf(rotated)]).toEqual([401, 200]);
    expect(await run("keys", "revoke", id)).toEqual([`${id} is revoked`]);
    expect(await statusOf(rotated)).toBe(401);
    await expect(run("keys", "revoke", id)).rejects.toThrow("there is no such key");
    await expect(run("keys", "create", "--tenant", "search", "--expires-in", "soon")).rejects.toThrow("Expected a time such as");
  });
});

describe("moiety keys hash", () => {
  /** What it prints, given a key or none. */
  async function hash(key: string | undefined, ...args: readonly string[]) {
    const ran = promisify(execFile)(process.execPath, [moiety, "keys", "hash", "--tenant", "search", ...args]);
    ran.child.stdin?.end(key);
    const { stdout, stderr } = await ran;
    return { line: stdout.trim(), stderr };
  }

  it("prints lines by which a gateway knows keys that it was not given", async () => {
    const given = await hash("a-key-from-elsewhere\n");
    const made = await hash(undefined, "--name", "production", "--new");
    expect(given.line).toMatch(/^search:sha256:[0-9a-f]{64}$/);
    expect(made.line).toMatch(/^search\/production:sha256:[0-9a-f]{64}$/);
    const [, key = ""] = /: (\S+)$/.exec(made.stderr.trim()) ?? [];
    expect(key.length).toBeGreaterThan(40);
    const env = { MOIETY_MODEL: model, MOIETY_REDIS_URL: redis.url, MOIETY_API_KEYS: `${given.line},${made.line}` };
    const another = await spawnService({ name: "gateway-of-hashes", run: { service: "gateway" }, env });
    try {
      await another.waitHealthy(30_000);
      const asked = (text: string) => fetch(`${another.httpUrl}/v1/models`, { headers: { authorization: `Bearer ${text}` } });
      const statuses = [key, "a-key-from-elsewhere", "a-key-from-nowhere"].map(async (text) => (await asked(text)).status);
      expect(await Promise.all(statuses)).toEqual([200, 200, 401]);
    } finally {
      await another.kill();
    }
  }, 40_000);

  it("takes no key that a gateway would not take", async () => {
    for (const key of ["short", "two words of a key", ""])
      await expect(hash(key)).rejects.toThrow("at least 8 characters and no spaces");
    await expect(hash("a-key-from-elsewhere", "--name", "a/b")).rejects.toThrow("Expected A-Z");
  }, 40_000);
});

describe("moiety tenants", () => {
  it("sets, shows, lists and forgets limits", async () => {
    await run("tenants", "set", "search", "--requests-per-minute", "600", "--models", "a,b", "--audit-text");
    const shown = await run("tenants", "set", "search", "--tokens-per-day", "none", "--most-urgent-priority", "-5");
    expect(shown).toEqual(
      expect.arrayContaining([
        "search",
        "  requests_per_minute\t600",
        "  tokens_per_minute\tnone\t(default)",
        "  most_urgent_priority\t-5",
        "  models\ta,b",
        "  audit_text\ttrue",
      ]),
    );
    expect(await run("tenants", "show", "search")).toContain("  now: tokens_today\t0");
    const [line] = await run("tenants", "list");
    expect(line).toBe("search\trequests_per_minute=600\ttokens_per_day=none\tmost_urgent_priority=-5\tmodels=a,b");
    await run("tenants", "set", "search", "--no-audit-text", "--requests-per-minute", "default");
    expect(await run("tenants", "show", "search")).toEqual(
      expect.arrayContaining(["  requests_per_minute\tnone\t(default)", "  audit_text\tfalse"]),
    );
    expect(await run("tenants", "delete", "search")).toEqual(["search has the limits of all"]);
    expect(await run("tenants", "list")).toEqual([]);
    await expect(run("tenants", "set", "search")).rejects.toThrow("expected at least one limit");
    await expect(run("tenants", "set", "search", "--tokens-per-day", "many")).rejects.toThrow("Expected a whole number");
  });
});

describe("moiety usage and moiety audit", () => {
  it("print what there is, as a table and as JSON lines", async () => {
    expect(await run("usage", "--tenant", "nobody")).toEqual(["day\ttenant\tkey\trequests\tprompt\tcached\tcompletion"]);
    await expect(run("usage", "--from", "yesterday")).rejects.toThrow("from: expected a day");
    const done = async () => (await run("audit", "--tenant", "-")).map((line) => JSON.parse(line));
    await expect
      .poll(done, { timeout: 10_000 })
      .toEqual(
        expect.arrayContaining([
          expect.objectContaining({ kind: "POST /admin/v1/keys", key_id: "admin", status: 200 }),
          expect.objectContaining({ kind: "POST /admin/v1/tenants/:tenant", subject: "search" }),
        ]),
      );
    const all = await run("audit");
    const { id } = JSON.parse(all[1] ?? "{}");
    expect(await run("audit", "--after", id)).toEqual(expect.arrayContaining(all.slice(2)));
    expect(await run("audit", "--from", "2100-01-01")).toEqual([]);
  });

  it("say what is wrong with the admin key", async () => {
    await expect(run("audit", "--admin-key", "another-key-of-nobody")).rejects.toThrow("answered 401");
    const { MOIETY_ADMIN_KEY: _, ...env } = process.env;
    const given = [moiety, "usage", "--url", gateway.httpUrl];
    await expect(promisify(execFile)(process.execPath, given, { env })).rejects.toThrow("expected the admin key");
  });
});
