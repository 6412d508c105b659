import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rawClient } from "../../../packages/queue/test/fixtures.js";
import { until } from "../../../packages/queue/test/redis-server.js";
import type { Gateway } from "../src/index.js";
import { GatewayFixture } from "./gateway-fixture.js";

/** What users of other servers complained of under load and of what was stored. `docs/complaints.md` says where each comes from. */

const MAX_STREAMS = 40;
const MAX_REQUESTS = 30;
let fixture: GatewayFixture;
let neighbour: Gateway;
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony", {
    MOIETY_MAX_STREAMS: String(MAX_STREAMS),
    MOIETY_MAX_REQUESTS: String(MAX_REQUESTS),
    MOIETY_RESPONSES_TTL_MS: "8000",
  });
  neighbour = await fixture.startAnother();
});
afterAll(async () => {
  await neighbour?.close();
  await fixture?.close();
});

const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "Weather?" }];
/** Requests that a worker that hangs never ends. */
const REQUESTS = [
  { path: CHAT, body: { messages } },
  { path: "/v1/completions", body: { prompt: "p", max_tokens: 1_000 } },
  { path: "/v1/responses", body: { input: "x", store: false } },
];
const BEGUN = "<|channel|>final<|message|>Sunny.";
const FINAL = `${BEGUN}<|return|>`;

async function say(text: string, options: object = {}): Promise<void> {
  const tokens = await fixture.ids(text);
  fixture.worker.script = () => ({ tokens, ...options });
}

const clientOf = (url: string, maxRetries = 0) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused-key", maxRetries });

describe("what is stored", () => {
  it("a response is no 404 behind a balancer: every gateway reads, continues and deletes what another made", async () => {
    await say(FINAL);
    const gateways = [fixture.url, `http://127.0.0.1:${neighbour.port}`].map((url) => clientOf(url));
    let previous: string | undefined;
    for (let turn = 0; turn < 6; turn += 1) {
      const [made, read] = turn % 2 === 0 ? gateways : [...gateways].reverse();
      if (!made || !read) throw new Error("there are two gateways");
      const request = { input: `turn ${turn}`, ...(previous === undefined ? {} : { previous_response_id: previous }) };
      const { id, output_text } = await made.responses.create(request);
      expect((await read.responses.retrieve(id)).output_text).toBe(output_text);
      previous = id;
    }
    const rendered = fixture.tokenizer.decode(fixture.worker.last.record.promptTokens);
    expect(rendered.match(/turn \d/g)).toEqual(Array.from({ length: 6 }, (_, turn) => `turn ${turn}`));
    const id = previous ?? "";
    await gateways[0]?.responses.delete(id);
    await expect(gateways[1]?.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  it("the store of responses does not leak: when they expire, nothing of them is left", async () => {
    await say(FINAL, { stride: 100 });
    const client = clientOf(fixture.url);
    const redis = rawClient(fixture.redis.url);
    const stored = () => redis.keys("*response*");
    for (let index = 0; index < 20; index += 1) await client.responses.create({ input: "x".repeat(1_000) });
    expect((await stored()).length).toBeGreaterThan(20);
    await until(async () => (await stored()).length === 0, 15_000);
    await redis.quit();
  }, 30_000);
});

describe("load", () => {
  it("a full queue is a 429 that clients know how to wait out, and no queue without bound", async () => {
    await say(FINAL, { delayMs: 100 });
    const patient = clientOf(fixture.url, 10);
    const ask = () => patient.responses.create({ input: "x", store: false });
    const answers = await Promise.all(Array.from({ length: MAX_REQUESTS + 6 }, ask));
    expect(new Set(answers.map(({ output_text }) => output_text))).toEqual(new Set(["Sunny."]));
    const { body } = await fixture.request("/metrics");
    expect(body).toMatch(/moiety_gateway_rejected_total\{[^}]*reason="queue-full"[^}]*\} [1-9]/);
  }, 30_000);

  it("clients that left keep no place, and no counter drifts: after any number of them there is as much room as before", async () => {
    const roomIs = async (room: number) =>
      Number((await fixture.request("/v1/models")).headers.get("x-ratelimit-remaining-requests")) === room;
    const queued = async () => {
      const lines: string[] = (await fixture.request("/metrics")).body.match(/moiety_queue_requests\{.*/g);
      return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    };
    const fail = { finish: { reason: "error", error: { code: "INTERNAL", message: "x" } } };
    for (let round = 0; round < 8; round += 1) {
      await say(BEGUN, { hang: true });
      const served = fixture.worker.claims.length;
      const stop = new AbortController();
      const leaving = Array.from({ length: MAX_REQUESTS / REQUESTS.length }, (_, index) =>
        REQUESTS.map(async ({ path, body }) => {
          const text = JSON.stringify({ ...body, stream: index % 2 === 0 });
          const init = { method: "POST", headers: { "content-type": "application/json" }, body: text };
          const response = await fetch(fixture.url + path, { ...init, signal: stop.signal });
          return [path, response.status, await response.text()];
        }),
      ).flat();
      const left = Promise.allSettled(leaving);
      await until(() => fixture.worker.claims.length - served === MAX_REQUESTS, 10_000).finally(() => stop.abort());
      for (const answer of await left) expect(answer).toMatchObject({ status: "rejected" });
      await until(() => fixture.worker.claims.slice(served).every(({ signal }) => signal.aborted), 5_000);
      await until(async () => (await queued()) === 0, 5_000);
      await say(BEGUN, round % 2 === 0 ? fail : {});
      expect((await fixture.post(CHAT, { messages, n: 0 })).status).toBe(400);
      expect((await fixture.post(CHAT, { messages })).status).toBe(round % 2 === 0 ? 500 : 200);
    }
    await until(() => roomIs(MAX_REQUESTS));
    expect((await fixture.request("/load")).body).toEqual({ server_load: 0 });
  }, 60_000);
});
