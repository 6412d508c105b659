import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { GatewayFixture, VOCABULARY } from "./gateway-fixture.js";

let fixture: GatewayFixture;
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony", { MOIETY_API_KEYS: "alice:key-of-alice" });
});
afterAll(() => fixture.close());
beforeEach(() => {
  fixture.worker.claims.length = 0;
  fixture.worker.script = () => ({ tokens: [104, 105] });
});

const authorization = "Bearer key-of-alice";
const post = (path: string, body: unknown) => fixture.post(path, body, { authorization });
const messages = [{ role: "user", content: "1+1?" }];
const chat = (fields: object) => post("/v1/chat/completions", { messages, max_tokens: 2, ...fields });
const complete = (fields: object) => post("/v1/completions", { prompt: "p", max_tokens: 2, ...fields });
const refusal = (param: string) => ({ status: 400, body: { error: { param, type: "invalid_request_error" } } });

describe("fields", () => {
  it("that only describe a request are checked and change nothing", async () => {
    const fields = {
      user: "u",
      safety_identifier: "s",
      prompt_cache_key: "k",
      metadata: { a: "b" },
      store: true,
      modalities: ["text"],
      use_beam_search: false,
      guided_json: null,
      chat_template_kwargs: { anything: 1 },
      nobody_knows_this: [1],
    };
    await chat({ seed: 1 });
    const { status, body } = await chat({ seed: 1, ...fields });
    expect(status).toBe(200);
    expect(body).not.toHaveProperty("service_tier");
    const [plain, described] = fixture.worker.claims.map(({ record }) => record);
    expect(described?.params).toEqual(plain?.params);
    expect(described?.promptTokens).toEqual(plain?.promptTokens);
    expect(described).toMatchObject({ cacheSalt: plain?.cacheSalt, priority: plain?.priority });
  });

  it("that ask for a tier of service are answered with the tier that served", async () => {
    for (const tier of ["auto", "default", "flex", "priority"]) {
      expect((await chat({ service_tier: tier })).body.service_tier).toBe("default");
    }
    expect((await complete({ service_tier: "flex" })).body.service_tier).toBe("default");
  });

  it.each<[field: string, value: unknown]>([
    ["service_tier", "gold"],
    ["metadata", Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, "v"]))],
    ["metadata.k", 1],
    ["user", 7],
    ["store", "yes"],
    ["stream_options", { include_usage: true }],
    ["priority", 1.5],
    ["cache_salt", ""],
    ["structural_tag", {}],
    ["guided_whitespace_pattern", " "],
    ["use_beam_search", true],
    ["include_stop_str_in_output", true],
    ["allowed_token_ids", [1]],
    ["prompt_logprobs", 1],
  ])("such as %s are refused by name on both endpoints when they cannot be obeyed", async (field, value) => {
    const body = field === "metadata.k" ? { metadata: { k: value } } : { [field]: value };
    expect(await chat(body)).toMatchObject(refusal(field));
    expect(await complete(body)).toMatchObject(refusal(field));
    expect(fixture.worker.claims).toHaveLength(0);
  });

  it.each<[field: string, value: unknown]>([
    ["functions", []],
    ["function_call", "auto"],
    ["audio", { voice: "x" }],
    ["web_search_options", {}],
    ["chat_template", "{{ x }}"],
    ["continue_final_message", true],
    ["echo", true],
  ])("such as %s are refused by name in chats", async (field, value) => {
    expect(await chat({ [field]: value })).toMatchObject(refusal(field));
  });

  it("that ask a chat for sound are refused by their place", async () => {
    expect(await chat({ modalities: ["text", "audio"] })).toMatchObject({ status: 400 });
    expect((await chat({ modalities: ["audio"] })).body.error.param).toMatch(/^modalities/);
  });
});

describe("POST /tokenize", () => {
  it("gives the tokens that a completion of the same text is prompted with", async () => {
    await complete({ prompt: "hi <|start|>🙂" });
    const { status, body } = await post("/tokenize", { model: "tiny", prompt: "hi <|start|>🙂", add_special_tokens: false });
    const tokens = [...fixture.worker.last.record.promptTokens];
    expect(status).toBe(200);
    expect(body).toEqual({ count: tokens.length, max_model_len: 4_096, tokens, token_strs: null });
  });

  it("gives the tokens that a chat with the same tools, format and effort is prompted with", async () => {
    const fields = {
      messages,
      tools: [
        { type: "function", function: { name: "add", parameters: { type: "object", properties: { a: { type: "number" } } } } },
      ],
      response_format: { type: "json_object" },
      reasoning_effort: "high",
    };
    await chat(fields);
    const { body } = await post("/tokenize", { ...fields, return_token_strs: true });
    const tokens = [...fixture.worker.last.record.promptTokens];
    expect(body).toMatchObject({ count: tokens.length, tokens });
    expect(body.token_strs).toHaveLength(tokens.length);
    expect(body.token_strs.join("")).toContain("<|start|>user<|message|>1+1?<|end|><|start|>assistant");
    const closed = await post("/tokenize", { ...fields, add_generation_prompt: false });
    expect(fixture.tokenizer.decode(closed.body.tokens).endsWith("1+1?<|end|>")).toBe(true);
  });

  it("takes an empty text, and POST /detokenize no tokens", async () => {
    expect((await post("/tokenize", { prompt: "" })).body).toMatchObject({ count: 0, tokens: [] });
    expect((await post("/detokenize", { tokens: [] })).body).toEqual({ prompt: "" });
  });

  it.each<[body: object, param: string]>([
    [{}, "prompt"],
    [{ prompt: 1 }, "prompt"],
    [{ prompt: "a", messages }, "prompt"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, "messages[0].content[0].type"],
    [{ prompt: "a", return_token_strs: 1 }, "return_token_strs"],
  ])("refuses %j, naming %s", async (body, param) => {
    expect(await post("/tokenize", body)).toMatchObject(refusal(param));
  });
});

describe("POST /detokenize", () => {
  it("is the inverse of POST /tokenize", async () => {
    const text = "<|start|>user<|message|>naïve 🙂<|end|>";
    const { tokens } = (await post("/tokenize", { prompt: text })).body;
    expect((await post("/detokenize", { model: "tiny", tokens })).body).toEqual({ prompt: text });
  });

  it("refuses what is no token, naming it", async () => {
    expect(await post("/detokenize", { tokens: [1, VOCABULARY] })).toMatchObject(refusal("tokens[1]"));
    expect(await post("/detokenize", { tokens: [-1] })).toMatchObject(refusal("tokens[0]"));
    expect(await post("/detokenize", {})).toMatchObject(refusal("tokens"));
    expect(await post("/detokenize", { tokens: [1], model: "other" })).toMatchObject({ status: 404 });
  });
});

describe("around the API", () => {
  it("tokenizing needs a key as completing does, and asking for the load does not", async () => {
    for (const path of ["/tokenize", "/%74okenize", "/detokenize"]) {
      expect([path, (await fixture.post(path, { prompt: "a", tokens: [1] })).status]).toEqual([path, 401]);
    }
    expect((await fixture.request("/load")).body).toEqual({ server_load: 0 });
  });

  it("the load is the requests that are being answered", async () => {
    fixture.worker.script = () => ({ tokens: [104], hang: true });
    const stop = new AbortController();
    const headers = { "content-type": "application/json", authorization };
    const body = JSON.stringify({ prompt: "p", stream: true });
    const response = await fetch(`${fixture.url}/v1/completions`, { method: "POST", headers, body, signal: stop.signal });
    expect((await fixture.request("/load")).body).toEqual({ server_load: 1 });
    expect(response.headers.get("openai-processing-ms")).toMatch(/^\d+$/);
    expect(response.headers.get("x-request-id")).toBeTruthy();
    stop.abort();
    await response.text().catch(() => undefined);
  });

  it("every answer says how long it took, errors too", async () => {
    for (const answer of [await complete({}), await complete({ n: 0 }), await post("/v1/embeddings", {})]) {
      expect(answer.headers.get("openai-processing-ms")).toMatch(/^\d+$/);
    }
    expect((await fixture.request("/health")).headers.has("openai-processing-ms")).toBe(false);
  });

  it("a wrong method is told the right one", async () => {
    const answer = await fixture.request("/tokenize", { headers: { authorization } });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
  });
});

describe("the room that answers state", () => {
  let small: GatewayFixture;
  beforeAll(async () => {
    small = await GatewayFixture.start("harmony", { MOIETY_MAX_STREAMS: "5", MOIETY_MAX_REQUESTS: "4" });
  });
  afterAll(() => small.close());

  const roomOf = ({ headers }: { headers: Headers }) =>
    ["limit", "remaining"].map((what) => headers.get(`x-ratelimit-${what}-requests`));
  const whole = { prompt: "p", max_tokens: 1 };
  /** What an answered request held is let go of a moment later. */
  const idle = () =>
    expect
      .poll(async () =>
        [...(await small.request("/metrics")).body.matchAll(/moiety_queue_requests\{.*\} (\d+)/g)].map(([, n]) => n),
      )
      .toEqual(["0", "0"]);

  it("is the smaller of what the gateway and the queue have left, and comes back", async () => {
    small.worker.script = () => ({ tokens: [104] });
    expect(roomOf(await small.request("/v1/models"))).toEqual(["4", "4"]);
    expect(roomOf(await small.post("/v1/completions", whole))).toEqual(["4", "3"]);
    await idle();
    expect(roomOf(await small.post("/v1/responses", { input: "x" }))).toEqual(["4", "3"]);
    await idle();
    small.worker.script = () => ({ tokens: [104], delayMs: 300 });
    expect(roomOf(await small.post("/v1/completions", { ...whole, n: 3 }))).toEqual(["4", "1"]);
    const { headers } = await small.request("/v1/nothing");
    const names = [...headers.keys()].filter((name) => name.startsWith("x-ratelimit"));
    expect(names.sort()).toEqual(["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"]);
    expect(roomOf(await small.request("/health"))).toEqual([null, null]);
  });

  it("shrinks with every stream to nothing, and what is refused then is told so", async () => {
    small.worker.script = () => ({ tokens: [104], hang: true });
    const stop = new AbortController();
    const init = { method: "POST", headers: { "content-type": "application/json" }, signal: stop.signal };
    const open = (path: string, body: object) =>
      fetch(small.url + path, { ...init, body: JSON.stringify({ ...body, stream: true }) });
    await idle();
    const streams = [
      await open("/v1/completions", whole),
      await open("/v1/chat/completions", { messages }),
      await open("/v1/responses", { input: "x" }),
    ];
    expect(streams.map(roomOf)).toEqual(["3", "2", "1"].map((remaining) => ["4", remaining]));
    const background = await small.post("/v1/responses", { input: "x", background: true });
    expect([background.status, ...roomOf(background)]).toEqual([200, "4", "0"]);
    const queueFull = await small.post("/v1/completions", whole);
    expect([queueFull.status, ...roomOf(queueFull)]).toEqual([429, "4", "0"]);
    expect((await small.post(`/v1/responses/${background.body.id}/cancel`, {})).status).toBe(200);
    stop.abort();
    await Promise.all(streams.map((stream) => stream.text().catch(() => undefined)));
    await idle();
    expect(roomOf(await small.request("/v1/models"))).toEqual(["4", "4"]);
  });
});
