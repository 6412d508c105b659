import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rawClient } from "../../../packages/queue/test/fixtures.js";
import { until } from "../../../packages/queue/test/redis-server.js";
import { spawnService } from "../../../packages/testing/src/processes/service.js";
import { serveGateway } from "../src/index.js";
import { GatewayFixture, VOCABULARY } from "./gateway-fixture.js";

type Event = OpenAI.Responses.ResponseStreamEvent;

let fixture: GatewayFixture;
let client: OpenAI;
const KEYS = { MOIETY_API_KEYS: "alice:key-of-alice,bob:key-of-bob" };
const clientOf = (url: string, apiKey = "key-of-alice") => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony", { ...KEYS, MOIETY_RESPONSES_MAX_BYTES: "400000" });
  client = clientOf(fixture.url);
});
afterAll(() => fixture.close());

async function say(text: string, options: object = {}): Promise<void> {
  const tokens = await fixture.ids(text);
  fixture.worker.script = () => ({ tokens, ...options });
}

const THOUGHT = "<|channel|>analysis<|message|>Look it up.<|end|><|start|>assistant";
const FINAL = "<|channel|>final<|message|>It is 2 🙂.<|return|>";
const CALL = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city":"Zürich"}<|call|>';
const tools = [
  {
    type: "function",
    name: "get_weather",
    strict: false,
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
] as const satisfies OpenAI.Responses.Tool[];
const chatTools = tools.map(({ type, ...definition }) => ({ type, function: definition }));
const prompt = () => [...fixture.worker.last.record.promptTokens];
const auth = { authorization: "Bearer key-of-alice" };

async function chat(body: object): Promise<OpenAI.ChatCompletion> {
  return (await fixture.post("/v1/chat/completions", body, auth)).body;
}

async function eventsOf(stream: AsyncIterable<Event>): Promise<Event[]> {
  const events: Event[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** Without what differs from response to response. */
function anonymous(value: unknown, id: string): unknown {
  const text = JSON.stringify(value).replaceAll(id.slice(5), "ID");
  return JSON.parse(text.replaceAll(/call_[0-9a-f]{24}/g, "CALL").replaceAll(/"(created_at|completed_at)":\d+/g, '"$1":0'));
}

describe("a response", () => {
  it("says what a chat says, thoughts and usage included", async () => {
    await say(THOUGHT + FINAL);
    const response = await client.responses.create({ model: "tiny", input: "1+1?", instructions: "Be brief." });
    const responsePrompt = prompt();
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "1+1?" },
    ];
    const { choices, usage } = await chat({ messages });
    expect(prompt()).toEqual(responsePrompt);
    expect(response.output_text).toBe(choices[0]?.message.content);
    expect(response).toMatchObject({
      object: "response",
      status: "completed",
      error: null,
      incomplete_details: null,
      instructions: "Be brief.",
      store: true,
      output: [
        { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "Look it up." }], status: "completed" },
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "It is 2 🙂.", annotations: [] }] },
      ],
      usage: { input_tokens: usage?.prompt_tokens, output_tokens: usage?.completion_tokens, total_tokens: usage?.total_tokens },
    });
    expect(await client.responses.retrieve(response.id)).toEqual(response);
  });

  it("is incomplete when it ends at its limit", async () => {
    await say(THOUGHT + FINAL);
    const response = await client.responses.create({ input: "x", max_output_tokens: 20 });
    expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } });
    expect(response.output.at(-1)).toMatchObject({ status: "incomplete" });
  });

  it("fails as a chat does when generation does", async () => {
    await say(THOUGHT, { finish: { reason: "error", error: { code: "INTERNAL", message: "secret detail" } } });
    await expect(client.responses.create({ input: "x" })).rejects.toMatchObject({ status: 500, code: "internal_error" });
    const events = await eventsOf(await client.responses.create({ input: "x", stream: true }));
    const last = events.at(-1);
    if (last?.type !== "response.failed") throw new Error(`it ended with ${last?.type}`);
    expect(last.response).toMatchObject({ status: "failed", error: { code: "server_error" }, output: [{ type: "reasoning" }] });
    expect(await client.responses.retrieve(last.response.id)).toMatchObject({
      status: "failed",
      output: [{ type: "reasoning" }],
    });
  });
});

describe("a stream", () => {
  it("numbers its events, and ends with what an answer in one piece is", async () => {
    await say(`${THOUGHT}<|channel|>commentary<|message|>I look.<|end|><|start|>assistant${CALL}`);
    const request = {
      input: "Weather?",
      tools: [...tools],
      metadata: { a: "b" },
      include: ["reasoning.encrypted_content" as const],
    };
    const whole = await client.responses.create(request);
    const events = await eventsOf(await client.responses.create({ ...request, stream: true }));
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
    expect([...new Set(events.map(({ type }) => type))]).toEqual([
      ...["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"],
      ...["response.reasoning_text.delta", "response.reasoning_text.done", "response.content_part.done"],
      ...["response.output_item.done", "response.output_text.delta", "response.output_text.done"],
      ...["response.function_call_arguments.delta", "response.function_call_arguments.done", "response.completed"],
    ]);
    const last = events.at(-1);
    if (last?.type !== "response.completed") throw new Error("it is not complete");
    const { output_text, ...plain } = whole;
    expect(anonymous(last.response, last.response.id)).toEqual(anonymous(plain, whole.id));
    const replayed = await eventsOf(await client.responses.retrieve(last.response.id, { stream: true }));
    expect(replayed).toEqual(events);
  });

  it("is put together by the official client's own helper", async () => {
    await say(THOUGHT + FINAL, { stride: 3 });
    const final = await client.responses.stream({ model: "tiny", input: "x" }).finalResponse();
    expect(final.output_text).toBe("It is 2 🙂.");
  });

  it("carries log-probabilities when they are asked for", async () => {
    const tokens = (await fixture.ids("<|channel|>final<|message|>ab")).map((token) => ({ token, logprob: -1, top: [] }));
    fixture.worker.script = () => ({ tokens });
    const { output } = await client.responses.create({ input: "x", include: ["message.output_text.logprobs"] });
    expect(output[0]).toMatchObject({ content: [{ logprobs: [{ token: "a", logprob: -1 }, { token: "b" }] }] });
  });

  it("is the same whatever the model writes: streamed, in one piece, and told again", async () => {
    const beginnings = await Promise.all(
      [CALL.slice(0, 60), FINAL.slice(0, 27), THOUGHT, "<|call|>"].map((text) => fixture.ids(text)),
    );
    const token = fc.integer({ min: 0, max: VOCABULARY - 1 }).map((id) => [id]);
    const piece = fc.oneof({ weight: 6, arbitrary: token }, { weight: 1, arbitrary: fc.constantFrom(...beginnings) });
    const outputs = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.flat());
    await fc.assert(
      fc.asyncProperty(outputs, fc.integer({ min: 1, max: 7 }), async (tokens, stride) => {
        fixture.worker.script = () => ({ tokens, stride });
        const request = { input: "x", max_output_tokens: 500, stop: ["e"], tools: [...tools] };
        const whole = await client.responses.create(request);
        const events = await eventsOf(await client.responses.create({ ...request, stream: true }));
        const last = events.at(-1);
        if (last?.type !== "response.completed" && last?.type !== "response.incomplete") throw new Error(`ended: ${last?.type}`);
        const { id } = last.response;
        expect(anonymous(last.response.output, id)).toEqual(anonymous(whole.output, whole.id));
        const { choices } = await chat({
          messages: [{ role: "user", content: "x" }],
          max_tokens: 500,
          stop: ["e"],
          tools: chatTools,
        });
        expect(whole.output_text).toBe(choices[0]?.message.content ?? "");
        const called = whole.output.flatMap((item) => (item.type === "function_call" ? [[item.name, item.arguments]] : []));
        const calls = choices[0]?.message.tool_calls ?? [];
        expect(called).toEqual(calls.map((each) => each.type === "function" && [each.function.name, each.function.arguments]));
        expect(await eventsOf(await client.responses.retrieve(id, { stream: true }))).toEqual(events);
        const after = Math.floor(events.length / 2);
        const rest = await eventsOf(await client.responses.retrieve(id, { stream: true, starting_after: after }));
        expect(rest).toEqual(events.slice(after + 1));
      }),
      { numRuns: 25 },
    );
  });
});

describe("a conversation", () => {
  it("keeps thoughts within a turn of calls and drops them after an answer, as a chat of the same messages", async () => {
    await say(THOUGHT + CALL);
    const first = await client.responses.create({ input: "Weather?", tools: [...tools] });
    const call = first.output.find((item) => item.type === "function_call");
    if (!call) throw new Error("nothing is called");
    const result = { type: "function_call_output", call_id: call.call_id, output: "sunny" } as const;
    await say(FINAL);
    const second = await client.responses.create({ previous_response_id: first.id, input: [result], tools: [...tools] });
    const withThoughts = prompt();
    expect(fixture.tokenizer.decode(withThoughts)).toContain("Look it up.");
    const asked = { role: "user", content: "Weather?" };
    const toolCall = { id: call.call_id, type: "function", function: { name: call.name, arguments: call.arguments } };
    const messages: object[] = [
      asked,
      { role: "assistant", reasoning: "Look it up.", tool_calls: [toolCall] },
      { role: "tool", tool_call_id: call.call_id, content: "sunny" },
    ];
    await chat({ messages, tools: chatTools });
    expect(prompt()).toEqual(withThoughts);

    const echoed = [{ role: "user", content: "Weather?" }, ...first.output, result] as OpenAI.Responses.ResponseInput;
    await client.responses.create({ input: echoed, tools: [...tools], store: false });
    expect(prompt()).toEqual(withThoughts);
    const references = first.output.map(({ id }) => ({ type: "item_reference" as const, id: id ?? "" }));
    await client.responses.create({ input: [{ role: "user", content: "Weather?" }, ...references, result], tools: [...tools] });
    expect(prompt()).toEqual(withThoughts);

    await client.responses.create({ previous_response_id: second.id, input: "Sure?", tools: [...tools] });
    const third = prompt();
    expect(fixture.tokenizer.decode(third)).not.toContain("Look it up.");
    const sure = { role: "user", content: "Sure?" };
    await chat({ messages: [...messages, { role: "assistant", content: "It is 2 🙂." }, sure], tools: chatTools });
    expect(prompt()).toEqual(third);
  });

  it("shows the model the format that is asked for", async () => {
    await say(FINAL);
    const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false };
    const format = { type: "json_schema", name: "thing", schema, strict: false } as const;
    await client.responses.create({ input: "x", text: { format } });
    const shown = prompt();
    const { type, ...definition } = format;
    await chat({ messages: [{ role: "user", content: "x" }], response_format: { type, json_schema: definition } });
    expect(prompt()).toEqual(shown);
    expect(fixture.tokenizer.decode(shown)).toContain("# Response Formats");
  });

  it("cannot go on from what is not there, is another's, or has not ended", async () => {
    await say(FINAL);
    const { id } = await client.responses.create({ input: "x" });
    const continued = (previous_response_id: string, of = client) => of.responses.create({ previous_response_id, input: "y" });
    const missing = { status: 404, param: "previous_response_id" };
    await expect(continued("resp_1")).rejects.toMatchObject(missing);
    await expect(continued(`resp_${"0".repeat(32)}`)).rejects.toMatchObject(missing);
    await expect(continued(id, clientOf(fixture.url, "key-of-bob"))).rejects.toMatchObject(missing);
    const second = await continued(id);
    await client.responses.delete(id);
    await expect(continued(second.id)).rejects.toMatchObject({ status: 400, param: "previous_response_id" });
    await say(FINAL, { hang: true });
    const running = await client.responses.create({ input: "x", background: true });
    await expect(continued(running.id)).rejects.toMatchObject({ status: 400, param: "previous_response_id" });
    await client.responses.cancel(running.id);
    const lost = { input: [{ type: "function_call_output" as const, call_id: "c", output: "x" }] };
    await expect(client.responses.create(lost)).rejects.toMatchObject({ status: 400, param: "input[0].call_id" });
  });
});

describe("what is stored", () => {
  it("can be listed and deleted by its tenant alone", async () => {
    await say(FINAL);
    const input = ["a", "b", "c"].map((content) => ({ role: "user" as const, content }));
    const { id } = await client.responses.create({ input });
    const page = await client.responses.inputItems.list(id, { limit: 2 });
    const texts = (items: object[]) => items.map((item) => (item as { content: { text: string }[] }).content[0]?.text);
    expect(texts(page.data)).toEqual(["c", "b"]);
    expect(texts((await page.getNextPage()).data)).toEqual(["a"]);
    expect(texts((await client.responses.inputItems.list(id, { order: "asc" })).data)).toEqual(["a", "b", "c"]);
    const bob = clientOf(fixture.url, "key-of-bob");
    for (const ask of [
      () => bob.responses.retrieve(id),
      () => bob.responses.delete(id),
      () => bob.responses.inputItems.list(id),
    ]) {
      await expect(ask()).rejects.toMatchObject({ status: 404 });
    }
    await client.responses.delete(id);
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404, code: "response_not_found" });
    await expect(client.responses.delete(id)).rejects.toMatchObject({ status: 404 });
  });

  it("is nothing when it is not to be", async () => {
    await say(FINAL);
    const { id } = await client.responses.create({ input: "x", store: false });
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  it("makes room for what is newer, and expires", async () => {
    await say(FINAL);
    const input = "x".repeat(150);
    const bob = clientOf(fixture.url, "key-of-bob");
    const others = await bob.responses.create({ input: "x" });
    const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`k${index}`, "v".repeat(500)]));
    const ids: string[] = [];
    for (let count = 0; count < 45; count++) ids.push((await client.responses.create({ input, metadata })).id);
    await expect(client.responses.retrieve(ids[0] ?? "")).rejects.toMatchObject({ status: 404 });
    await client.responses.retrieve(ids.at(-1) ?? "");
    await bob.responses.retrieve(others.id);
    const redis = rawClient(fixture.redis.url);
    const total = Number(await redis.hget("{moiety}:responses:sizes:alice", "total"));
    const ttlMs = await redis.pttl(`{moiety}:response:alice/${ids.at(-1)}`);
    await redis.quit();
    expect(total).toBeGreaterThan(300_000);
    expect(total).toBeLessThanOrEqual(400_000);
    expect(ttlMs).toBeGreaterThan(2_591_000_000);
  });
});

describe("in the background", () => {
  it("a response is queued, then ends, and can be read from any event on", async () => {
    await say(THOUGHT + FINAL, { delayMs: 10 });
    const begun = await client.responses.create({ input: "x", background: true });
    expect(begun).toMatchObject({ status: "queued", background: true, output: [] });
    const live = await eventsOf(await client.responses.retrieve(begun.id, { stream: true, starting_after: 0 }));
    expect(live.slice(0, 2).map(({ type }) => type)).toEqual(["response.queued", "response.in_progress"]);
    expect(live.map((event) => event.sequence_number)).toEqual(live.map((_, index) => index + 1));
    expect(await client.responses.retrieve(begun.id)).toMatchObject({ status: "completed", output_text: "It is 2 🙂." });
  });

  it("goes on when its client leaves, and is cancelled on request, once", async () => {
    await say(THOUGHT + FINAL, { delayMs: 60, hang: true });
    const stream = await client.responses.create({ input: "x", background: true, stream: true });
    let id = "";
    for await (const event of stream) {
      if (event.type === "response.created") id = event.response.id;
      if (event.type === "response.reasoning_text.delta") break;
    }
    await sleep(300);
    expect(await client.responses.retrieve(id)).toMatchObject({ status: "in_progress" });
    const cancelled = await client.responses.cancel(id);
    expect(cancelled).toMatchObject({ status: "cancelled", output: [{ type: "reasoning" }] });
    expect(await client.responses.cancel(id)).toEqual(cancelled);
    expect((await client.responses.retrieve(id)).status).toBe("cancelled");
    await say(FINAL);
    const done = await client.responses.create({ input: "x" });
    await expect(client.responses.cancel(done.id)).rejects.toMatchObject({ status: 400, param: "response_id" });
    const empty = { method: "POST", headers: { ...auth, "content-type": "application/json" } };
    expect((await fixture.request(`/v1/responses/${id}/cancel`, empty)).status).toBe(200);
    expect((await fixture.request(`/v1/responses/${id}`, { ...empty, method: "DELETE" })).status).toBe(200);
  });

  it("a client that leaves cancels what is in the foreground, and finds it cancelled", async () => {
    await say(THOUGHT, { hang: true });
    let id = "";
    for await (const event of await client.responses.create({ input: "x", stream: true })) {
      if (event.type === "response.created") id = event.response.id;
      if (event.type === "response.reasoning_text.delta") break;
    }
    await until(async () => (await client.responses.retrieve(id)).status === "cancelled");
  });

  it("survives its gateway: another goes on with it, from the next event", async () => {
    const { MOIETY_HTTP_PORT: _port, ...env } = fixture.environment;
    const process = await spawnService({ name: "gateway-b", run: { service: "gateway" }, env });
    try {
      await process.waitReady(20_000);
      await say(THOUGHT + FINAL, { delayMs: 60 });
      const other = clientOf(process.httpUrl);
      const unwatched = await other.responses.create({ input: "y", background: true });
      const seen: Event[] = [];
      const read = async () => {
        for await (const event of await other.responses.create({ input: "x", background: true, stream: true })) {
          seen.push(event);
          if (seen.length === 12) await process.kill();
        }
      };
      await read().catch(() => undefined);
      const [first] = seen;
      if (first?.type !== "response.created") throw new Error("it did not begin");
      const { id } = first.response;
      const starting_after = seen.at(-1)?.sequence_number ?? -1;
      const rest = await eventsOf(await client.responses.retrieve(id, { stream: true, starting_after }));
      expect([...seen, ...rest]).toEqual(await eventsOf(await client.responses.retrieve(id, { stream: true })));
      expect(rest.at(-1)?.type).toBe("response.completed");
      const redis = rawClient(fixture.redis.url);
      await until(async () => (await redis.hexists(`{moiety}:response:alice/${unwatched.id}`, "end")) === 1, 20_000);
      await redis.quit();
      expect((await client.responses.retrieve(unwatched.id)).output_text).toBe("It is 2 🙂.");
    } finally {
      await process.kill();
    }
  }, 60_000);

  it("is handed over by a gateway that shuts down", async () => {
    const gateway = await serveGateway({ ...fixture.environment, MOIETY_HTTP_PORT: "0" });
    await say(THOUGHT + FINAL, { delayMs: 30 });
    const { id } = await clientOf(`http://127.0.0.1:${gateway.port}`).responses.create({ input: "x", background: true });
    await gateway.close();
    const redis = rawClient(fixture.redis.url);
    await until(async () => (await redis.hexists(`{moiety}:response:alice/${id}`, "end")) === 1, 20_000);
    await redis.quit();
    expect(await client.responses.retrieve(id)).toMatchObject({ status: "completed" });
  }, 40_000);
});

describe("requests", () => {
  it.each([
    ["POST", "", { input: [{ role: "user", content: [{ type: "input_image" }] }] }, 400, "input[0].content[0].type"],
    ["POST", "", { input: "x", model: "other" }, 404, "model"],
    ["POST", "", { input: "x", max_output_tokens: 100_000 }, 400, "max_output_tokens"],
    ["POST", "", { input: "x", tools: [{ type: "web_search" }] }, 400, "tools[0].type"],
    ["POST", "", { input: [{ type: "item_reference", id: "msg_1" }] }, 400, "input[0].id"],
    ["GET", "/resp_1", undefined, 404, "response_id"],
    ["GET", `/resp_${"0".repeat(32)}?stream=maybe`, undefined, 400, "stream"],
    ["GET", `/resp_${"0".repeat(32)}?starting_after=-1`, undefined, 400, "starting_after"],
    ["GET", `/resp_${"0".repeat(32)}/input_items?limit=0`, undefined, 400, "limit"],
    ["POST", "/resp_1/cancel", {}, 404, "response_id"],
    ["DELETE", "/resp_1", undefined, 404, "response_id"],
    ["GET", "", undefined, 405, null],
    ["POST", "/compact", {}, 400, null],
  ])("%s %s %j is %i, naming %s", async (method, path, body, status, param) => {
    const json = body === undefined ? {} : { body: JSON.stringify(body) };
    const type = body === undefined ? {} : { "content-type": "application/json" };
    const answer = await fixture.request(`/v1/responses${path}`, { method, headers: { ...auth, ...type }, ...json });
    expect(answer).toMatchObject({ status, body: { error: { param, message: expect.any(String) } } });
  });

  it("may carry fields that nobody knows", async () => {
    await say(FINAL);
    const { status } = await fixture.post("/v1/responses", { input: "x", n: 4, messages: 1, max_tokens: "many", foo: {} }, auth);
    expect(status).toBe(200);
  });
});
