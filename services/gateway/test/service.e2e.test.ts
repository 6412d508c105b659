import { Agent, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "@moiety/model";
import { afterEach, describe, expect, it } from "vitest";
import { rawClient } from "../../../packages/queue/test/fixtures.js";
import { until } from "../../../packages/queue/test/redis-server.js";
import { serveGateway } from "../src/index.js";
import { GatewayFixture, type TokenizerKind } from "./gateway-fixture.js";
import { ScriptedWorker } from "./scripted-worker.js";

const open: GatewayFixture[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((fixture) => fixture.close()));
});

async function start(kind: TokenizerKind, environment: Record<string, string> = {}): Promise<GatewayFixture> {
  const fixture = await GatewayFixture.start(kind, environment);
  open.push(fixture);
  return fixture;
}

describe("a checkpoint without tokenizer", () => {
  it("is served by token ids alone", async () => {
    const fixture = await start("none");
    fixture.worker.script = () => ({ tokens: [5, 6, 7].map((token) => ({ token, logprob: -1, top: [] })), stride: 2 });
    const request = { prompt: [1, 2], max_tokens: 3, logprobs: 0 };
    const { body } = await fixture.post("/v1/completions", request);
    expect(body.choices[0]).toMatchObject({ text: "", token_ids: [5, 6, 7], prompt_token_ids: [1, 2], finish_reason: "length" });
    expect(body.choices[0].logprobs.tokens).toEqual(["token_id:5", "token_id:6", "token_id:7"]);
    const chunks = await fixture.stream("/v1/completions", request);
    expect(chunks.flatMap((chunk) => chunk.choices[0].token_ids)).toEqual([5, 6, 7]);
    for (const [path, wrong, param] of [
      ["/v1/completions", { prompt: "text" }, "prompt"],
      ["/v1/completions", { prompt: ["text", "b"] }, "prompt[0]"],
      ["/v1/completions", { prompt: [1], stop: "x" }, "stop"],
      ["/v1/chat/completions", { messages: [{ role: "user", content: "x" }] }, "messages"],
    ] as const) {
      const refused = await fixture.post(path, wrong);
      expect(refused.status).toBe(400);
      expect(refused.body.error).toMatchObject({ param, message: expect.stringContaining("no tokenizer") });
    }
  });
});

describe("a tokenizer without markup", () => {
  it("chats in a plain template", async () => {
    const fixture = await start("plain");
    const tokens = await fixture.ids(" fine");
    fixture.worker.script = () => ({ tokens });
    const { body } = await fixture.post("/v1/chat/completions", { messages: [{ role: "user", content: "how?" }] });
    expect(body.choices[0].message.content).toBe(" fine");
    expect(fixture.tokenizer.decode(fixture.worker.last.record.promptTokens)).toBe("user: how?\n\nassistant:");
  });
});

describe("HTTP", () => {
  it("shapes every error like OpenAI's", async () => {
    const { post, request } = bound(await start("none", { MOIETY_MAX_BODY_BYTES: "2000" }));
    const shape = (status: number, code: string | null) => ({
      status,
      body: { error: { code, message: expect.any(String), type: expect.any(String) } },
    });
    expect(await post("/v1/completions", "{")).toMatchObject(shape(400, "invalid_json"));
    expect(await post("/v1/completions", "")).toMatchObject(shape(400, "invalid_json"));
    expect(await post("/v1/completions", "[1]")).toMatchObject(shape(400, "invalid_json"));
    expect(await post("/v1/completions", "null")).toMatchObject(shape(400, "invalid_json"));
    expect(await post("/v1/completions", `{"prompt":${"[".repeat(100)}${"]".repeat(100)}}`)).toMatchObject(
      shape(400, "body_too_complex"),
    );
    expect(await post("/v1/completions", `{"__proto__":{"x":1},"prompt":[1]}`)).toMatchObject({ status: 400 });
    expect(await post("/v1/completions", "x".repeat(3_000))).toMatchObject(shape(413, "body_too_large"));
    expect(await post("/v1/completions", "a=b", { "content-type": "text/html" })).toMatchObject(
      shape(415, "unsupported_media_type"),
    );
    expect(await request("/v1/completions")).toMatchObject(shape(405, "method_not_allowed"));
    expect((await request("/v1/chat/completions", { method: "DELETE" })).headers.get("allow")).toBe("POST");
    expect(await request("/v1/nothing")).toMatchObject(shape(404, "unknown_url"));
    expect(await request("/v1/models/other")).toMatchObject(shape(404, "model_not_found"));
    expect(await request(`/v1/responses/${"x".repeat(300)}`)).toMatchObject(shape(414, "uri_too_long"));
    expect(await request("/v1/responses/%ff")).toMatchObject(shape(400, "invalid_url"));
    for (const path of ["/v1/embeddings", "/v1/images/generations", "/v1/audio/speech"]) {
      expect(await post(path, { input: "x" })).toMatchObject(shape(400, "unsupported_endpoint"));
      expect(await post(path, "")).toMatchObject(shape(400, "unsupported_endpoint"));
      expect(await post(path, "{")).toMatchObject(shape(400, "unsupported_endpoint"));
    }
  });

  it("carries a request id through, and makes one when there is none", async () => {
    const { request } = bound(await start("none"));
    expect((await request("/v1/models", { headers: { "x-request-id": "mine-1" } })).headers.get("x-request-id")).toBe("mine-1");
    expect((await request("/v1/models", { headers: { "x-request-id": "<bad>" } })).headers.get("x-request-id")).toMatch(
      /^[0-9a-f-]{36}$/,
    );
  });

  it("is ready while Redis answers and a worker's beat is fresh", async () => {
    const fixture = await start("none");
    expect(await fixture.request("/health")).toMatchObject({ status: 200 });
    await until(async () => (await fixture.request("/ready")).status === 200);
    await fixture.worker.close();
    await until(async () => (await fixture.request("/ready")).status === 503, 6_000);
    expect((await fixture.request("/ready")).body.missing).toEqual(["attention worker"]);
    await fixture.redis.kill();
    await until(async () => (await fixture.request("/ready")).body.missing[0] === "redis");
  });

  it("names a worker of another checkpoint, and does not count it", async () => {
    const golden = fileURLToPath(new URL("../../../packages/testing/fixtures/golden/ckpt/A", import.meta.url));
    const { fingerprint } = await openCheckpoint(golden);
    const fixture = await start("none", { MOIETY_MODEL: golden });
    const missing = async () => (await fixture.request("/ready")).body.missing;
    const stranger = expect.stringContaining("worker scripted serves");
    await expect.poll(missing).toEqual(["attention worker", stranger]);
    const options = { redisUrl: fixture.redis.url, prefix: "moiety", modelFingerprint: fingerprint };
    const twin = await ScriptedWorker.start({ ...options, workerId: "twin", maxContextTokens: 100 });
    await expect.poll(missing).toEqual([stranger]);
    expect((await fixture.request("/ready")).status).toBe(503);
    await until(async () => (await fixture.request("/v1/models")).body.data[0].max_model_len === 100);
    await fixture.worker.close();
    await until(async () => (await fixture.request("/ready")).status === 200, 6_000);
    await twin.close();
  });

  it("counts what it serves under the names that dashboards know", async () => {
    const fixture = await start("none");
    fixture.worker.script = () => ({ tokens: [1, 2, 3] });
    await fixture.post("/v1/completions", { prompt: [1, 2], max_tokens: 3 });
    const { body } = await fixture.request("/metrics");
    const labels = 'model_name="tiny",engine="gateway"';
    for (const line of [
      `vllm:prompt_tokens_total{${labels}`,
      `vllm:generation_tokens_total{${labels}`,
      `vllm:request_success_total{${labels},finished_reason="length"`,
      `vllm:time_to_first_token_seconds_count{`,
      `vllm:inter_token_latency_seconds_count{`,
      `vllm:e2e_request_latency_seconds_count{`,
      `vllm:request_time_per_output_token_seconds_count{`,
      `vllm:request_prompt_tokens_sum{`,
      `vllm:request_generation_tokens_sum{`,
      `moiety_queue_requests{state="waiting"`,
      `moiety_http_responses_total{route="/v1/completions",status="200"`,
    ]) {
      expect(body).toContain(line);
    }
  });
});

describe("the tokens that wait", () => {
  it("are those of prompts whose first token has not come, and none of clients that left", async () => {
    const fixture = await start("none");
    const waiting = async () =>
      Number(/^moiety_gateway_waiting_tokens\{.*\} (\d+)$/m.exec((await fixture.request("/metrics")).body)?.[1]);
    let isHeld = true;
    const held = async () => {
      while (isHeld) await sleep(10);
    };
    fixture.worker.script = () => ({ tokens: [1, 2], before: (at) => (at === 0 ? held() : Promise.resolve()) });
    const prompt = Array.from({ length: 30 }, () => 1);
    const served = fixture.post("/v1/completions", { prompt, max_tokens: 2, n: 2 });
    const leaving = new AbortController();
    const left = fetch(`${fixture.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt, max_tokens: 2, stream: true }),
      signal: leaving.signal,
    });
    await until(async () => (await waiting()) === 90);
    leaving.abort();
    await left.then(
      ({ text }) => text,
      () => undefined,
    );
    await until(async () => (await waiting()) === 60);
    isHeld = false;
    expect((await served).status).toBe(200);
    await until(async () => (await waiting()) === 0);
  });
});

describe("keys", () => {
  it("are required when configured, and name the tenant whose cache is its own", async () => {
    const fixture = await start("none", { MOIETY_API_KEYS: "alice:key-of-alice,bob:key-of-bob" });
    fixture.worker.script = () => ({ tokens: [1] });
    const as = (authorization?: string) =>
      fixture.post("/v1/completions", { prompt: [1], max_tokens: 1, cache_salt: "s" }, authorization ? { authorization } : {});
    for (const wrong of [undefined, "Bearer nope", "Bearer", "Basic key-of-bob", "Bearer key-of-bo"]) {
      expect(await as(wrong)).toMatchObject({ status: 401, body: { error: { code: "invalid_api_key" } } });
    }
    expect((await as("Bearer key-of-bob")).status).toBe(200);
    expect(fixture.worker.last.record).toMatchObject({ tenant: "bob", cacheSalt: "bob/s" });
    expect((await fixture.request("/v1/models")).status).toBe(401);
    expect((await fixture.request("/health")).status).toBe(200);
  });

  it("are required whatever way a path is spelt", async () => {
    const fixture = await start("none", { MOIETY_API_KEYS: "alice:key-of-alice" });
    for (const path of ["/v1/models", "/%76%31/models", "/v%31/models/tiny", "/v1/nothing", "/v1"]) {
      expect([path, (await fixture.request(path)).status]).toEqual([path, 401]);
    }
    expect((await fixture.post("/%761/completions", { prompt: [1] })).status).toBe(401);
  });
});

describe("a client that goes away while its request is being queued", () => {
  it("leaves nothing behind", async () => {
    const fixture = await start("harmony");
    fixture.worker.script = () => ({ tokens: [104], hang: true });
    const redis = rawClient(fixture.redis.url);
    const body = { messages: [{ role: "user", content: "x" }], max_tokens: 5 };
    for (const stream of [true, false]) {
      fixture.worker.claims.length = 0;
      await redis.call("CLIENT", "PAUSE", "800", "ALL");
      const asking = fetch(`${fixture.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...body, stream }),
        signal: AbortSignal.timeout(300),
      });
      await expect(asking).rejects.toThrow();
      await sleep(1_500);
      await until(() => fixture.worker.claims.every((claim) => claim.signal.aborted), 2_000);
      const depth = (await fixture.request("/metrics")).body.match(/moiety_queue_requests\{.*/g);
      expect(depth.map((line: string) => line.split(" ").at(-1))).toEqual(["0", "0"]);
    }
    await redis.quit();
  });
});

describe("limits", () => {
  it("answers 429 with Retry-After when the queue is full, and serves on when there is room", async () => {
    const fixture = await start("none", { MOIETY_MAX_REQUESTS: "2" });
    fixture.worker.script = () => ({ tokens: [1], delayMs: 400 });
    const asked = await Promise.all(
      Array.from({ length: 5 }, () => fixture.post("/v1/completions", { prompt: [1], max_tokens: 1 })),
    );
    expect(asked.map((answer) => answer.status).sort()).toEqual([200, 200, 429, 429, 429]);
    const refused = asked.find((answer) => answer.status === 429);
    expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(refused?.body.error.code).toBe("rate_limit_exceeded");
    expect((await fixture.post("/v1/completions", { prompt: [1], max_tokens: 1, n: 3 })).status).toBe(429);
    await until(async () => (await fixture.post("/v1/completions", { prompt: [1], max_tokens: 1 })).status === 200);
  });

  it("answers 429 when the gateway itself is full", async () => {
    const fixture = await start("none", { MOIETY_MAX_STREAMS: "1" });
    fixture.worker.script = () => ({ tokens: [1], delayMs: 300 });
    const asked = await Promise.all([1, 2].map(() => fixture.post("/v1/completions", { prompt: [1], max_tokens: 1 })));
    expect(asked.map((answer) => answer.status).sort()).toEqual([200, 429]);
  });

  it("cancels the request of a client that reads nothing, and keeps little for it", async () => {
    const fixture = await start("none", { MOIETY_SLOW_CLIENT_TIMEOUT_MS: "500" });
    const top = Array.from({ length: 20 }, (_, token) => ({ token, logprob: -1 }));
    const tokens = Array.from({ length: 3_000 }, () => ({ token: 1, logprob: -1, top }));
    fixture.worker.script = () => ({ tokens, stride: 300 });
    const body = JSON.stringify({ prompt: [1], max_tokens: 3_000, logprobs: 20, stream: true, n: 8 });
    const head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    const socket = connect(fixture.gateway.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.pause();
    socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
    const slowClients = async () => /moiety_gateway_slow_clients_total\S* 1/.test((await fixture.request("/metrics")).body);
    try {
      for (let waits = 0; !(await slowClients()); waits++) {
        if (waits > 60) throw new Error("the stream was not cancelled");
        await sleep(200);
      }
    } finally {
      socket.destroy();
    }
  });

  it("keeps a silent stream alive with comments", async () => {
    const fixture = await start("none", { MOIETY_SSE_KEEP_ALIVE_MS: "100" });
    fixture.worker.script = () => ({ tokens: [1], delayMs: 450 });
    const response = await fetch(`${fixture.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: [1], max_tokens: 1, stream: true }),
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    expect(response.headers.get("x-request-id")).toBeTruthy();
    expect((await response.text()).split(": keep-alive\n\n").length).toBeGreaterThan(2);
  });
});

describe("failures", () => {
  it("finishes what runs and refuses what is new while it drains", async () => {
    const fixture = await start("none");
    fixture.worker.script = () => ({ tokens: [1, 2, 3, 4], delayMs: 200 });
    const running = fixture.stream("/v1/completions", { prompt: [1], max_tokens: 4 });
    await until(() => fixture.worker.claims.length === 1);
    const closing = fixture.gateway.close();
    await until(async () => (await fixture.request("/ready")).status === 503);
    const refused = await fixture.post("/v1/completions", { prompt: [1] });
    expect(refused).toMatchObject({ status: 503, body: { error: { code: "unavailable" } } });
    expect(refused.headers.get("retry-after")).toBe("1");
    expect((await running).flatMap((chunk) => chunk.choices[0].token_ids)).toEqual([1, 2, 3, 4]);
    await closing;
  });

  it("serves who is connected once more, and lets every connection go, while load balancers learn that it leaves", async () => {
    const fixture = await start("none", { MOIETY_LAME_DUCK_MS: "400" });
    fixture.worker.script = () => ({ tokens: [1, 2, 3, 4], delayMs: 250 });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = () =>
      new Promise<{ status: number | undefined; connection: string | undefined; port: number | undefined }>((resolve, reject) => {
        const headers = { "content-type": "application/json" };
        const asked = request(`${fixture.url}/v1/completions`, { method: "POST", agent, headers }, (response) => {
          const { statusCode: status, headers } = response;
          const port = response.socket.localPort;
          response.resume().once("end", () => resolve({ status, connection: headers.connection, port }));
        });
        asked.once("error", reject).end(JSON.stringify({ prompt: [1], max_tokens: 4, stream: true }));
      });
    const first = ask();
    await until(() => fixture.worker.claims.length === 1);
    const closing = fixture.gateway.close();
    await until(async () => (await fixture.request("/ready")).status === 503);
    // What begins while it leaves is served, and told to connect anew.
    expect((await fixture.post("/v1/completions", { prompt: [1], max_tokens: 1 })).status).toBe(200);
    // The answer that began before ends when new connections are refused already; its client asks again on the connection it kept.
    const kept = await first;
    expect(kept).toMatchObject({ status: 200, connection: "keep-alive" });
    expect((await fixture.post("/v1/completions", { prompt: [1] })).status).toBe(503);
    expect(await ask()).toEqual({ status: 200, connection: "close", port: kept.port });
    await closing;
    agent.destroy();
  });

  it("streams on, token for token, over a Redis that is killed and comes back", async () => {
    const fixture = await start("none");
    const tokens = Array.from({ length: 120 }, (_, index) => index);
    fixture.worker.script = () => ({ tokens, delayMs: 10 });
    const streams = Array.from({ length: 4 }, () => fixture.stream("/v1/completions", { prompt: [1], max_tokens: 120 }));
    await until(() => fixture.worker.claims.length === 4);
    await sleep(300);
    await fixture.redis.kill();
    await sleep(500);
    await fixture.redis.restart();
    for (const chunks of await Promise.all(streams)) {
      expect(chunks.flatMap((chunk) => chunk.choices[0].token_ids)).toEqual(tokens);
    }
  });

  it("streams on, token for token, when Redis has forgotten the request", async () => {
    const fixture = await start("none");
    const tokens = Array.from({ length: 40 }, (_, index) => index);
    fixture.worker.script = () => ({ tokens, delayMs: 25 });
    const streaming = fixture.stream("/v1/completions", { prompt: [1], max_tokens: 40 });
    await until(() => fixture.worker.claims.length === 1);
    await sleep(300);
    const redis = rawClient(fixture.redis.url);
    await redis.flushall();
    await redis.quit();
    expect((await streaming).flatMap((chunk) => chunk.choices[0].token_ids)).toEqual(tokens);
    expect(fixture.worker.claims).toHaveLength(2);
  });
});

function bound(fixture: GatewayFixture): Pick<GatewayFixture, "post" | "request"> {
  return { post: fixture.post.bind(fixture), request: fixture.request.bind(fixture) };
}

describe("metrics", () => {
  it("are on the API's port, or on one of their own and then nowhere else", async () => {
    const together = await start("none");
    expect((await together.request("/metrics")).body).toContain("moiety_http_responses_total");
    const apart = await start("none", { MOIETY_METRICS_PORT: "0" });
    expect((await apart.request("/metrics")).status).toBe(404);
    expect((await apart.post("/metrics", {})).status).toBe(404);
    expect((await apart.request("/health")).status).toBe(200);
    const url = `http://127.0.0.1:${apart.gateway.metricsPort}`;
    const counted = async () => (await fetch(`${url}/metrics`)).text();
    await until(async () => (await counted()).includes('moiety_http_responses_total{route="none",status="404"'));
    await until(async () => (await fetch(`${url}/ready`)).status === 200);
    expect((await fetch(`${url}/v1/models`)).status).toBe(404);
    await apart.gateway.close();
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  it("say that their port is taken, and keep none of the gateway", async () => {
    const fixture = await start("none");
    const environment = { ...fixture.environment, MOIETY_METRICS_PORT: String(fixture.gateway.port) };
    await expect(serveGateway(environment)).rejects.toThrow(`cannot listen on 127.0.0.1:${fixture.gateway.port}`);
  });
});
