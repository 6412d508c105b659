import { SignJWT } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../../packages/queue/test/redis-server.js";
import { type Gateway, serveGateway } from "../src/index.js";
import { ADMIN_KEY, AdminClient, bearer } from "./admin-client.js";
import { GatewayFixture } from "./gateway-fixture.js";
import { TokenIssuer } from "./token-issuer.js";

let issuer: TokenIssuer;
let fixture: GatewayFixture;
const others: Gateway[] = [];
beforeAll(async () => {
  issuer = await TokenIssuer.start();
  fixture = await GatewayFixture.start("none", {
    MOIETY_ADMIN_KEY: ADMIN_KEY,
    MOIETY_API_KEYS: "fixed:a-static-key",
    MOIETY_JWT_ISSUER: issuer.url,
    MOIETY_JWT_JWKS_URL: issuer.jwksUrl,
    MOIETY_JWT_AUDIENCE: "moiety",
  });
  fixture.worker.script = () => ({ tokens: [1] });
});
afterAll(async () => {
  await fixture?.close();
  await issuer?.close();
});
afterEach(async () => {
  await Promise.all(others.splice(0).map((gateway) => gateway.close()));
});

const ask = (token: string) => fixture.post("/v1/completions", { prompt: [1], max_tokens: 1 }, bearer(token));

/** Another gateway, which knows no keys of the issuer yet. */
async function startAnother(environment: Readonly<Record<string, string | undefined>> = {}) {
  const all = Object.entries({ ...fixture.environment, ...environment }).filter(([, value]) => value !== undefined);
  const gateway = await serveGateway(Object.fromEntries(all) as Record<string, string>);
  others.push(gateway);
  return async (token: string) => {
    const response = await fetch(`http://127.0.0.1:${gateway.port}/v1/models`, { headers: bearer(token) });
    return { status: response.status, text: await response.text() };
  };
}

describe("tokens of an issuer", () => {
  it("open the API for the tenant that they name, beside keys, and are accounted by whom they were given to", async () => {
    expect((await ask(await issuer.sign())).status).toBe(200);
    expect(fixture.worker.last.record.tenant).toBe("alice");
    expect((await ask(await issuer.sign({ tenant: "bob", aud: ["other", "moiety"] }))).status).toBe(200);
    expect(fixture.worker.last.record.tenant).toBe("bob");
    expect((await ask("a-static-key")).status).toBe(200);
    const admin = new AdminClient(fixture);
    expect((await ask((await admin.key("carol")).key)).status).toBe(200);
    expect((await admin.get("usage?tenant=alice")).body.data).toMatchObject([{ key_id: "jwt:user-1", requests: 1 }]);
    expect(await admin.audit("?tenant=alice")).toMatchObject([{ key_id: "jwt:user-1", subject: "user-1", status: 200 }]);
    await admin.limit("alice", { requests_per_minute: 1 });
    const statuses = await Promise.all(Array.from({ length: 8 }, async () => (await ask(await issuer.sign())).status));
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(6);
  });

  it("are counted by their subjects, so many of a tenant's on a day, and all others together", async () => {
    const ask = async (gateway: Gateway, claims: object) => {
      const init = {
        method: "POST",
        headers: { "content-type": "application/json", ...bearer(await issuer.sign({ ...claims })) },
      };
      const url = `http://127.0.0.1:${gateway.port}/v1/completions`;
      return (await fetch(url, { ...init, body: JSON.stringify({ prompt: [1], max_tokens: 1 }) })).status;
    };
    const few = await serveGateway({ ...fixture.environment, MOIETY_USAGE_SUBJECTS: "2" });
    others.push(few);
    const subjects = ["ann", "a b\n%\ud800", "cid", "dan", "ann", "a b\n%\ud800", "cid"];
    for (const sub of subjects) expect(await ask(few, { tenant: "many", sub })).toBe(200);
    expect(await ask(few, { tenant: "many", sub: undefined })).toBe(200);
    expect(await ask(few, { tenant: "few", sub: "cid" })).toBe(200);
    const admin = new AdminClient(fixture);
    const byKey = async (tenant: string) => {
      const { data } = (await admin.get(`usage?tenant=${tenant}`)).body;
      return Object.fromEntries(data.map((row: { key_id: string; requests: number }) => [row.key_id, row.requests]));
    };
    const known = { "jwt:ann": 2, "jwt:a%20b%a%25%d800": 2, "jwt-others": 3, jwt: 1 };
    await until(async () => (await byKey("few"))["jwt:cid"] === 1);
    expect(await byKey("many")).toEqual(known);
    expect((await admin.get("usage?tenant=many&key_id=jwt:ann")).body.data).toMatchObject([{ requests: 2 }]);
  });

  const now = Math.floor(Date.now() / 1_000);
  it.each<[why: string, claims: object, message: string]>([
    ["of another issuer", { iss: "http://127.0.0.1:1" }, "claim iss"],
    ["for another audience", { aud: "another" }, "claim aud"],
    ["for nobody", { aud: undefined }, "claim aud"],
    ["that have expired", { exp: now - 100 }, "has expired"],
    ["that never expire", { exp: undefined }, "claim exp"],
    ["that do not hold yet", { nbf: now + 600 }, "claim nbf"],
    ["without a tenant", { tenant: undefined }, "claim tenant"],
    ["of a tenant that is no name", { tenant: "a b" }, "claim tenant"],
    ["of a tenant that is no text", { tenant: { a: 1 } }, "claim tenant"],
  ])("%s are refused", async (_, claims, message) => {
    const { status, body } = await ask(await issuer.sign({ ...claims }));
    expect([status, body.error.code]).toEqual([401, "invalid_api_key"]);
    expect(body.error.message).toContain(message);
  });

  it("that are forged are refused: unsigned, signed with a shared secret, changed, or by a key of the same name", async () => {
    const token = await issuer.sign();
    const [header = "", payload = "", signature = ""] = token.split(".");
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const [jwk] = issuer.publicKeys;
    const secret = Buffer.from(JSON.stringify(jwk));
    const stranger = await TokenIssuer.start();
    const forged = [
      `${encode({ alg: "none" })}.${payload}.${signature}`,
      `${encode({ alg: "none" })}.${payload}.`,
      await new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: "first" }).sign(secret),
      `${header}.${encode({ ...claims, tenant: "root" })}.${signature}`,
      await stranger.sign({ iss: issuer.url }),
    ];
    await stranger.close();
    for (const each of forged) expect((await ask(each)).status).toBe(401);
    expect((await ask(token.replace("alice", "x"))).status).not.toBe(500);
  });

  it("with a signature that is not on the list are refused, though the issuer's key is right", async () => {
    await issuer.addKey("rsa", "RS512");
    const token = await issuer.sign({}, "rsa");
    const [strict, open] = [await startAnother(), await startAnother({ MOIETY_JWT_ALGORITHMS: "RS512" })];
    expect([(await strict(token)).status, (await open(token)).status]).toEqual([401, 200]);
    expect((await open(await issuer.sign())).status).toBe(401);
    issuer.dropKey("rsa");
  });
});

describe("an issuer's keys", () => {
  it("are found by its OpenID configuration, read once, and again for a key that is new", async () => {
    const ask = await startAnother({ MOIETY_JWT_JWKS_URL: undefined });
    const token = await issuer.sign();
    const before = issuer.asked;
    for (let round = 0; round < 10; round += 1) expect((await ask(token)).status).toBe(200);
    expect(issuer.asked - before).toBe(1);
  });

  it("are not read over and over for tokens of keys that nobody has", async () => {
    const ask = await startAnother();
    expect((await ask(await issuer.sign())).status).toBe(200);
    const before = issuer.asked;
    await issuer.addKey("hidden");
    const tokens = await Promise.all(Array.from({ length: 20 }, () => issuer.sign({}, "hidden")));
    issuer.dropKey("hidden");
    for (const token of tokens) expect((await ask(token)).status).toBe(401);
    expect(issuer.asked - before).toBeLessThanOrEqual(1);
  });

  it("hold while the issuer is away; without them tokens are a 503, and keys open the API all the same", async () => {
    const known = await startAnother();
    const token = await issuer.sign();
    expect((await known(token)).status).toBe(200);
    const fresh = await startAnother();
    const undiscovered = await startAnother({ MOIETY_JWT_JWKS_URL: undefined });
    await issuer.close();
    try {
      expect((await known(token)).status).toBe(200);
      for (const ask of [fresh, undiscovered]) {
        const { status, text } = await ask(token);
        expect([status, JSON.parse(text).error.code]).toEqual([503, "unavailable"]);
        expect((await ask("a-static-key")).status).toBe(200);
      }
    } finally {
      await issuer.listen();
    }
    expect((await fresh(token)).status).toBe(200);
  });

  it.each([
    ["is no JSON", "<html>"],
    ["is no set of keys", "{}"],
    ["has no end", JSON.stringify({ keys: [], more: "x".repeat(300_000) })],
  ])("are not taken from an answer that %s", async (_, body) => {
    const ask = await startAnother();
    issuer.body = body;
    try {
      expect((await ask(await issuer.sign())).status).toBe(503);
    } finally {
      issuer.body = undefined;
    }
  });
});

describe("a gateway's configuration of tokens", () => {
  it.each<[fault: string, environment: Readonly<Record<string, string | undefined>>, message: string]>([
    ["no audience", { MOIETY_JWT_AUDIENCE: undefined }, "MOIETY_JWT_AUDIENCE"],
    ["no issuer", { MOIETY_JWT_ISSUER: undefined }, "MOIETY_JWT_ISSUER"],
    ["an issuer that is no URL, and no keys", { MOIETY_JWT_ISSUER: "us", MOIETY_JWT_JWKS_URL: undefined }, "MOIETY_JWT_JWKS_URL"],
    ["a shared secret's signature", { MOIETY_JWT_ALGORITHMS: "ES256,HS256" }, "MOIETY_JWT_ALGORITHMS"],
  ])("is refused with %s", async (_, environment, message) => {
    await expect(startAnother(environment)).rejects.toThrow(message);
  });

  it("with an issuer alone needs a token of everybody", async () => {
    const ask = await startAnother({ MOIETY_ADMIN_KEY: undefined, MOIETY_API_KEYS: undefined });
    expect((await ask("none")).status).toBe(401);
    expect((await ask(await issuer.sign())).status).toBe(200);
  });
});
