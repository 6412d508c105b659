import fc from "fast-check";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSse } from "../../../packages/testing/src/sse/sse-stream.js";
import { GatewayFixture } from "./gateway-fixture.js";

/** What users of other servers complained of, and does not happen here. `docs/complaints.md` says where each comes from. */

let fixture: GatewayFixture;
let client: OpenAI;
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony");
  client = new OpenAI({ baseURL: `${fixture.url}/v1`, apiKey: "unused-key", maxRetries: 0 });
});
afterAll(() => fixture?.close());

const CHAT = "/v1/chat/completions";
const RESPONSES = "/v1/responses";
const COMPLETIONS = "/v1/completions";
const messages = [{ role: "user", content: "Weather?" }];
const function_ = { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } };
const tools = [{ type: "function" as const, function: function_ }];
/** As responses spell them. */
const flatTools = tools.map(({ type, function: declared }) => ({ type, ...declared, strict: false }));
const THOUGHT = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant";
const FINAL = "<|channel|>final<|message|>Sunny.<|return|>";
const callOf = (city: string) => `<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city":"${city}"}`;
const CALLS = ["Bern", "Zürich", "Genève"].map(callOf).join("<|end|><|start|>assistant");

async function say(text: string, options: object = {}): Promise<void> {
  const tokens = await fixture.ids(text);
  fixture.worker.script = () => ({ tokens, ...options });
}

const prompt = () => [...fixture.worker.last.record.promptTokens];
const promptText = () => fixture.tokenizer.decode(prompt());

/** All that a client is told of what the model wrote. */
// biome-ignore lint/suspicious/noExplicitAny: answers have many shapes
function told({ choices, output }: any): string {
  return JSON.stringify(choices?.map(({ message }: { message: object }) => message) ?? output);
}

interface CallDelta {
  readonly index: number;
  readonly id?: string;
  readonly type?: string;
  readonly function: { readonly name?: string; readonly arguments: string };
}

// biome-ignore lint/suspicious/noExplicitAny: chunks are what the test is about
const callDeltas = (chunks: readonly any[], choice: number): CallDelta[] =>
  chunks
    .flatMap((chunk) => chunk.choices)
    .filter(({ index }) => index === choice)
    .flatMap(({ delta }) => delta.tool_calls ?? []);

describe("what the model writes", () => {
  it.each([
    ["a type with no constraint", "<|channel|>commentary to=functions.get_weather code<|message|>told"],
    ["a recipient twice", " to=functions.get_weather<|channel|>commentary to=functions.get_weather json<|message|>told"],
    ["words after the channel", "<|channel|>analysis and then some words of prose<|message|>told"],
    ["an unknown channel", "<|channel|>thinking<|message|>told"],
    ["a channel within a channel", "<|channel|>analysis<|channel|>final<|message|>told"],
    ["no message", "<|channel|>final told<|return|>"],
    ["a role that is none", "<|start|>robot<|channel|>final<|message|>told"],
    ["nothing but markup", "<|start|><|start|><|constrain|><|channel|><|constrain|><|message|><|message|>told"],
    ["a channel that is no word", "<|channel|>🙂<|message|>told"],
    ["a channel without end", `<|channel|>${"final ".repeat(300)}<|message|>told`],
  ])("a malformed header, with %s, is no 500 and loses no text", async (_name, text) => {
    await say(text, { stride: 40 });
    const body = { messages, tools };
    const chat = await fixture.post(CHAT, body);
    expect([chat.status, chat.body.error]).toEqual([200, undefined]);
    const chunks = await fixture.stream(CHAT, body);
    expect(chunks.filter((chunk) => chunk.error !== undefined)).toEqual([]);
    const response = await fixture.post(RESPONSES, { input: "Weather?" });
    expect([response.status, response.body.status]).toEqual([200, "completed"]);
    for (const answer of [chat.body, response.body]) expect(told(answer)).toContain("told");
    const next = { messages: [...messages, chat.body.choices[0].message, ...messages], tools };
    expect((await fixture.post(CHAT, next)).status).toBe(200);
    const again = { input: "And now?", previous_response_id: response.body.id };
    expect((await fixture.post(RESPONSES, again)).status).toBe(200);
  });

  it("streaming loses no tool call and leaks no <|channel|>, wherever the tokens are cut", async () => {
    const text = `${THOUGHT}<|channel|>commentary<|message|>I look.<|end|><|start|>assistant${CALLS}<|call|>`;
    const { length } = await fixture.ids(text);
    await say(text);
    const [{ message }] = (await fixture.post(CHAT, { messages, tools })).body.choices;
    expect(message.tool_calls.map(({ function: called }: CallDelta) => called.arguments)).toEqual(
      ["Bern", "Zürich", "Genève"].map((city) => `{"city":"${city}"}`),
    );
    for (let stride = 1; stride <= length; stride += 1) {
      await say(text, { stride });
      const chunks = await fixture.stream(CHAT, { messages, tools });
      const joined = (field: string) => chunks.map(({ choices: [choice] }) => choice.delta[field] ?? "").join("");
      const calls = message.tool_calls.map((_: unknown, index: number) => {
        const deltas = callDeltas(chunks, 0).filter((delta) => delta.index === index);
        return { name: deltas[0]?.function.name, arguments: deltas.map((delta) => delta.function.arguments).join("") };
      });
      expect(calls).toEqual(message.tool_calls.map((call: CallDelta) => call.function));
      expect({ content: joined("content"), reasoning: joined("reasoning") }).toEqual({ content: "I look.", reasoning: "Hm." });
      expect(JSON.stringify(chunks)).not.toMatch(/<\|\w+\|>/);
    }
  }, 60_000);

  it.each(["analysis", "commentary", "final", "thinking"])("a call on the channel %s is not misrouted", async (channel) => {
    await say(`${THOUGHT}<|channel|>${channel} to=functions.get_weather<|message|>{"city":"Bern"}<|call|>`);
    const [choice] = (await fixture.post(CHAT, { messages, tools })).body.choices;
    expect(choice).toMatchObject({ finish_reason: "tool_calls", message: { content: null, reasoning: "Hm." } });
    expect(choice.message.tool_calls.map((call: CallDelta) => call.function)).toEqual([
      { name: "get_weather", arguments: '{"city":"Bern"}' },
    ]);
    const { output } = await client.responses.create({ input: "Weather?", tools: flatTools });
    expect(output.map(({ type }) => type)).toEqual(["reasoning", "function_call"]);
    expect(output[1]).toMatchObject({ name: "get_weather", arguments: '{"city":"Bern"}' });
  });

  it("parallel calls do not share index 0, and each has its id and name once", async () => {
    await say(`${THOUGHT}${CALLS}<|call|>`);
    const chunks = await fixture.stream(CHAT, { messages, tools, n: 2, parallel_tool_calls: true });
    const ids = [0, 1].flatMap((choice) => {
      const deltas = callDeltas(chunks, choice);
      expect([...new Set(deltas.map(({ index }) => index))]).toEqual([0, 1, 2]);
      const first = [0, 1, 2].map((index) => deltas.find((delta) => delta.index === index));
      for (const delta of deltas.filter((one) => !first.includes(one))) {
        expect(delta).toEqual({ index: delta.index, function: { arguments: expect.any(String) } });
      }
      for (const delta of first) expect(delta).toMatchObject({ type: "function", function: { name: "get_weather" } });
      return first.map((delta) => delta?.id);
    });
    expect(ids.every((id) => id !== undefined)).toBe(true);
    expect(new Set(ids).size).toBe(6);
    const asked = { model: "tiny", messages: [{ role: "user" as const, content: "x" }], tools };
    const whole = await client.chat.completions.stream(asked).finalChatCompletion();
    expect(whole.choices[0]?.message.tool_calls).toHaveLength(3);
  });

  it("the reasoning field was not renamed: it has both names, in every chunk, and is taken back under either", async () => {
    await say(THOUGHT + FINAL);
    const whole = (await fixture.post(CHAT, { messages })).body.choices[0].message;
    expect(whole).toMatchObject({ reasoning: "Hm.", reasoning_content: "Hm." });
    const deltas = (await fixture.stream(CHAT, { messages })).map(({ choices: [choice] }) => choice.delta);
    expect(deltas.filter(({ reasoning }) => reasoning !== undefined).length).toBeGreaterThan(0);
    for (const { reasoning, reasoning_content } of deltas) expect(reasoning_content).toBe(reasoning);
    const tool_calls = [{ id: "c", type: "function", function: { name: "get_weather", arguments: "{}" } }];
    const prompts: number[][] = [];
    for (const name of ["reasoning", "reasoning_content"]) {
      const called = { role: "assistant", content: null, [name]: "Taken back.", tool_calls };
      await fixture.post(CHAT, { messages: [...messages, called, { role: "tool", tool_call_id: "c", content: "1" }], tools });
      expect(promptText()).toContain("<|channel|>analysis<|message|>Taken back.<|end|>");
      prompts.push(prompt());
    }
    expect(prompts[0]).toEqual(prompts[1]);
  });
});

/** A conversation whose turns think, call and answer, up to the point at which the model is next; as a chat and as items. */
function conversation(callsOfTurns: readonly number[], name: string) {
  const chat: object[] = [];
  const items: object[] = [];
  for (const [turn, calls] of callsOfTurns.entries()) {
    chat.push({ role: "user", content: `question ${turn}` });
    items.push({ role: "user", content: `question ${turn}` });
    for (let call = 0; call < calls; call += 1) {
      const thought = `thought ${turn}.${call}`;
      const id = `call_${turn}_${call}`;
      const called = { name: "get_weather", arguments: `{"city":"${turn}.${call}"}` };
      chat.push({ role: "assistant", content: null, [name]: thought, tool_calls: [{ id, type: "function", function: called }] });
      chat.push({ role: "tool", tool_call_id: id, content: "sunny" });
      items.push({ type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: thought }] });
      items.push({ type: "function_call", call_id: id, ...called });
      items.push({ type: "function_call_output", call_id: id, output: "sunny" });
    }
    if (turn === callsOfTurns.length - 1) break;
    const thought = `thought ${turn}.last`;
    chat.push({ role: "assistant", content: `answer ${turn}`, [name]: thought });
    items.push({ type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: thought }] });
    items.push({ type: "message", role: "assistant", content: [{ type: "output_text", text: `answer ${turn}` }] });
  }
  return { chat, items };
}

describe("what the model is shown", () => {
  it("chat and responses do not render a history differently, nor lose thoughts between tool turns", async () => {
    await say(FINAL);
    const turns = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(turns, fc.constantFrom("reasoning", "reasoning_content"), async (callsOfTurns, name) => {
        const { chat, items } = conversation(callsOfTurns, name);
        expect((await fixture.post(CHAT, { messages: chat, tools })).status).toBe(200);
        const rendered = prompt();
        const kept = Array.from({ length: callsOfTurns.at(-1) ?? 0 }, (_, call) => `thought ${callsOfTurns.length - 1}.${call}`);
        expect(promptText().match(/thought [\w.]+/g) ?? []).toEqual(kept);
        expect((await fixture.post(RESPONSES, { input: items, tools: flatTools })).status).toBe(200);
        expect(prompt()).toEqual(rendered);
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it("reasoning_effort is not ignored: every effort shows in the prompt, and one that is none is refused", async () => {
    await say(FINAL);
    for (const effort of ["low", "medium", "high"] as const) {
      await fixture.post(CHAT, { messages, reasoning_effort: effort });
      const chat = prompt();
      expect(promptText()).toContain(`\n\nReasoning: ${effort}\n\n`);
      await client.responses.create({ input: "Weather?", reasoning: { effort } });
      expect(prompt()).toEqual(chat);
      expect((await fixture.post("/tokenize", { messages, reasoning_effort: effort })).body.tokens).toEqual(chat);
    }
    expect((await fixture.post(CHAT, { messages, reasoning_effort: "xhigh" })).body.error.param).toBe("reasoning_effort");
    const refused = await fixture.post(RESPONSES, { input: "x", reasoning: { effort: "xhigh" } });
    expect([refused.status, refused.body.error.param]).toEqual([400, "reasoning.effort"]);
  });

  it("a schema of an earlier turn does not bind a later one", async () => {
    await say("<|channel|>final<|message|>{}<|return|>");
    const format = { type: "json_schema" as const, name: "any", schema: { type: "object" }, strict: false };
    const first = await client.responses.create({ input: "x", text: { format } });
    expect(fixture.worker.last.record.params.grammar).toBeDefined();
    await client.responses.create({ input: "y", previous_response_id: first.id });
    expect(fixture.worker.last.record.params.grammar).toBeUndefined();
    expect(promptText()).not.toContain("Response Formats");
  });
});

/** Lets the worker write a token only when the client has read what the one before it said. */
class InStep {
  readonly #header: number;
  #read = 0;
  #waiting: (() => void)[] = [];

  constructor(header: number) {
    this.#header = header;
  }

  read(characters: number): void {
    this.#read += characters;
    for (const go of this.#waiting.splice(0)) go();
  }

  async before(index: number): Promise<void> {
    while (this.#read < index - this.#header) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

describe("a stream", () => {
  const TEXT = "arrives token by token";
  const call = "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>";
  // biome-ignore lint/suspicious/noExplicitAny: events have many shapes
  type TextOf = (event: any) => string;
  const chatDelta =
    (field: string): TextOf =>
    (event) =>
      event.choices[0].delta[field] ?? "";

  it.each<[what: string, path: string, header: string, body: object, textOf: TextOf]>([
    ["an answer", CHAT, "<|channel|>final<|message|>", { messages }, chatDelta("content")],
    ["thoughts", CHAT, "<|channel|>analysis<|message|>", { messages }, chatDelta("reasoning")],
    ["a call", CHAT, call, { messages, tools }, (event) => event.choices[0].delta.tool_calls?.[0].function.arguments ?? ""],
    ["a text", COMPLETIONS, "", { prompt: "p", max_tokens: TEXT.length }, (event) => event.choices[0].text],
    ["a response", RESPONSES, "<|channel|>final<|message|>", { input: "x" }, deltaOf("output_text")],
    ["a response's call", RESPONSES, call, { input: "x", tools: flatTools }, deltaOf("function_call_arguments")],
  ])("of %s does not arrive in one burst at the end", async (_what, path, header, body, textOf) => {
    const inStep = new InStep((await fixture.ids(header)).length);
    await say(header + TEXT, { before: (index: number) => inStep.before(index) });
    const { events } = await openSse(fixture.url + path, { body: { ...body, stream: true } });
    let read = "";
    for await (const { data } of events) {
      if (data === "[DONE]") break;
      const text = textOf(JSON.parse(data));
      read += text;
      inStep.read(text.length);
    }
    expect(read).toBe(TEXT);
  });
});

/** The text of a response's events of one kind. */
function deltaOf(kind: string) {
  return ({ type, delta }: { type: string; delta?: string }) => (type === `response.${kind}.delta` ? (delta ?? "") : "");
}
