import { isGrammarAddonBuilt } from "@moiety/grammar";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GatewayFixture } from "./gateway-fixture.js";

let fixture: GatewayFixture;
let client: OpenAI;
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony");
  client = new OpenAI({ baseURL: `${fixture.url}/v1`, apiKey: "unused-key", maxRetries: 0 });
});
afterAll(() => fixture.close());

async function say(text: string, options: object = {}): Promise<void> {
  const tokens = await fixture.ids(text);
  fixture.worker.script = () => ({ tokens, ...options });
}

const prompt = () => fixture.tokenizer.decode(fixture.worker.last.record.promptTokens);
const messages = [{ role: "user", content: "Weather in Zürich?" }] as const;
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [
  { type: "function", function: { name: "get_weather", description: "Gets the weather.", parameters } },
  { type: "function", function: { name: "get_time" } },
] as const;
const NAMESPACE =
  "# Tools\n\n## functions\n\nnamespace functions {\n\n// Gets the weather.\ntype get_weather = (_: {\ncity: string,\n}) => any;\n\n" +
  "type get_time = () => any;\n\n} // namespace functions";

const ARGUMENTS = '{"city":"Zürich"}';
const THOUGHT = "<|channel|>analysis<|message|>Look it up.<|end|><|start|>assistant";
const call = (name: string, text = ARGUMENTS) => `<|channel|>commentary to=functions.${name} <|constrain|>json<|message|>${text}`;
const shown = (name: string, text = ARGUMENTS) => ({
  id: expect.stringMatching(/^call_[0-9a-f]{24}$/),
  type: "function",
  function: { name, arguments: text },
});

describe("declared functions", () => {
  it("are rendered after the instructions that a chat begins with", async () => {
    await say("x");
    const system = { role: "system", content: "Be brief." };
    await fixture.post("/v1/chat/completions", { messages: [system, ...messages], tools, parallel_tool_calls: true });
    expect(prompt()).toContain("Calls to these tools must go to the commentary channel: 'functions'.<|end|>");
    expect(prompt()).toContain(`<|start|>developer<|message|># Instructions\n\nBe brief.\n\n${NAMESPACE}<|end|><|start|>user`);
  });

  it("have a message of their own where there are no instructions, and tool_choice is auto", async () => {
    await say("x");
    const later = { role: "system", content: "Be kind." };
    await fixture.post("/v1/chat/completions", { messages: [...messages, later], tools, tool_choice: "auto" });
    expect(prompt()).toContain(`<|start|>developer<|message|>${NAMESPACE}<|end|><|start|>user`);
    expect(prompt()).toContain("<|start|>developer<|message|># Instructions\n\nBe kind.<|end|><|start|>assistant");
  });

  it("are kept from the model when tool_choice is none", async () => {
    await say("x");
    await fixture.post("/v1/chat/completions", { messages, tools, tool_choice: "none" });
    expect(prompt()).not.toContain("functions");
  });
});

describe("a call", () => {
  it.each([
    ["its recipient after the channel", `${THOUGHT}${call("get_weather")}<|call|>`],
    [
      "its recipient before the channel",
      `${THOUGHT} to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>${ARGUMENTS}<|call|>`,
    ],
    ["a bare content type", `${THOUGHT} to=functions.get_weather<|channel|>commentary json<|message|>${ARGUMENTS}<|call|>`],
    ["the analysis channel", `${THOUGHT}<|channel|>analysis to=functions.get_weather<|message|>${ARGUMENTS}<|call|>`],
  ])("with %s is answered as tool_calls", async (_name, text) => {
    await say(text);
    const { body } = await fixture.post("/v1/chat/completions", { messages, tools });
    expect(body.choices[0]).toMatchObject({ finish_reason: "tool_calls", stop_reason: null });
    expect(body.choices[0].message).toEqual({
      role: "assistant",
      content: null,
      refusal: null,
      reasoning: "Look it up.",
      reasoning_content: "Look it up.",
      tool_calls: [shown("get_weather")],
    });
  });

  it("may follow a preamble, which is content", async () => {
    await say(`<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant${call("get_weather")}<|call|>`);
    const { body } = await fixture.post("/v1/chat/completions", { messages, tools });
    expect(body.choices[0].message).toMatchObject({ content: "I will look.", tool_calls: [shown("get_weather")] });
  });

  it("that is cut by the limit ends with length, and one that the client stops with stop", async () => {
    const text = call("get_weather", '{"city":"Z');
    await say(text);
    const limit = { max_tokens: (await fixture.ids(text)).length };
    const cut = await fixture.post("/v1/chat/completions", { messages, tools, ...limit });
    const message = { content: null, tool_calls: [shown("get_weather", '{"city":"Z')] };
    expect(cut.body.choices[0]).toMatchObject({ finish_reason: "length", message });
    const stop_token_ids = [...(await fixture.ids("Z"))];
    const stopped = await fixture.post("/v1/chat/completions", { messages, tools, stop_token_ids });
    expect(stopped.body.choices[0]).toMatchObject({ finish_reason: "stop", stop_reason: stop_token_ids[0] });
  });

  it("with text that no stop string is looked for in", async () => {
    await say(`${call("get_weather")}<|call|>`);
    const { body } = await fixture.post("/v1/chat/completions", { messages, tools, stop: "city" });
    expect(body.choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { tool_calls: [shown("get_weather")] } });
  });

  it.each([
    ["alone", `${THOUGHT}${call("get_weather")}<|call|>`],
    ["one of two", `${call("get_weather")}<|end|><|start|>assistant${call("get_time", "{}")}<|call|>`],
    ["without arguments", `${call("get_time", "")}<|call|>`],
    ["without anything", "<|channel|>commentary to=functions.get_time<|call|>"],
    ["before an answer", `${call("get_time", "{}")}<|end|><|start|>assistant<|channel|>final<|message|>Hm.<|return|>`],
    ["cut within a character", call("get_weather", ARGUMENTS).slice(0, -6)],
  ])("%s streams as it is answered in one piece", async (_name, text) => {
    const request = { messages, tools, n: 2, stop: ["STOP"], stream_options: { include_usage: true } };
    for (const stride of [1, 3, 1_000]) {
      await say(text, { stride });
      const answer = await fixture.post("/v1/chat/completions", { ...request, stream_options: undefined });
      const chunks = await fixture.stream("/v1/chat/completions", request);
      expect(chunks.at(-1).usage).toEqual(answer.body.usage);
      for (const whole of answer.body.choices) {
        const choices = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === whole.index);
        const deltas = choices.flatMap((choice) => choice.delta.tool_calls ?? []);
        const joined = whole.message.tool_calls.map((_: unknown, index: number) => {
          const [first, ...more] = deltas.filter((delta) => delta.index === index);
          for (const delta of more) expect(delta).toEqual({ index, function: { arguments: expect.any(String) } });
          const { index: _index, ...head } = first;
          const rest = more.map((delta) => delta.function.arguments).join("");
          return { ...head, id: expect.any(String), function: { ...head.function, arguments: head.function.arguments + rest } };
        });
        expect(whole.message.tool_calls).toEqual(joined);
        expect(choices.map((choice) => choice.delta.content ?? "").join("")).toBe(whole.message.content ?? "");
        expect(choices.at(-1)).toMatchObject({ delta: {}, finish_reason: whole.finish_reason });
      }
    }
  });

  it("streams its arguments as they come, and ids that differ between choices", async () => {
    await say(`${call("get_weather")}<|call|>`, { delayMs: 10 });
    const chunks = await fixture.stream("/v1/chat/completions", { messages, tools, n: 2 });
    const deltas = chunks.flatMap((chunk) =>
      chunk.choices.flatMap((choice: { delta: OpenAI.ChatCompletionChunk.Choice.Delta }) => choice.delta.tool_calls ?? []),
    );
    expect(deltas.length).toBeGreaterThan(ARGUMENTS.length);
    expect(new Set(deltas.flatMap((delta) => delta.id ?? [])).size).toBe(2);
  });

  it("is what the official client makes of the stream, runs, and answers", async () => {
    const turns = [`${THOUGHT}${call("get_weather")}<|call|>`, "<|channel|>final<|message|>Sunny.<|return|>"];
    const scripts = await Promise.all(turns.map((turn) => fixture.ids(turn)));
    fixture.worker.script = () => ({ tokens: scripts.shift() ?? [] });
    const asked: unknown[] = [];
    const runner = client.chat.completions.runTools({
      model: "tiny",
      stream: true,
      messages: [...messages],
      tools: [
        {
          type: "function",
          function: {
            name: "get_weather",
            description: "Gets the weather.",
            parameters,
            parse: JSON.parse,
            function: (input: unknown) => {
              asked.push(input);
              return '{"sky":"clear"}';
            },
          },
        },
      ],
    });
    expect(await runner.finalContent()).toBe("Sunny.");
    expect(asked).toEqual([{ city: "Zürich" }]);
    expect(prompt()).toContain(
      `<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>${ARGUMENTS}<|call|>` +
        '<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>{"sky":"clear"}<|end|><|start|>assistant',
    );
  });
});

const flatTools = tools.map(({ type, function: declared }) => ({ type, strict: false, ...declared }));
const time = { type: "function", name: "get_time" };
const other = { type: "function", function: { name: "get_time" } };

/** How often calls were refused, by the gateway's count. */
async function refusedCalls(): Promise<number> {
  const { body } = await fixture.request("/metrics");
  return Number(/moiety_harmony_repairs_total\{[^}]*kind="refused-call"[^}]*\} (\d+)/.exec(body)?.[1] ?? 0);
}

describe("a call of what may not be called", () => {
  const text = `${THOUGHT}${call("get_weather")}<|call|>`;

  it.each<[string, object, string]>([
    ["no tools", {}, text],
    ["none of the tools", { tools, tool_choice: "none" }, text],
    ["none of the tools, with a least length", { tools, tool_choice: "none", min_tokens: 1 }, text],
    ["other tools", { tools: [other] }, text],
    ["other tools, strict", { tools: [{ type: "function", function: { name: "get_time", strict: true } }] }, text],
    ["another one of the tools", { tools, tool_choice: other }, text],
    [
      "functions and not the browser",
      { tools },
      `${THOUGHT} to=browser.search<|channel|>analysis<|message|>${ARGUMENTS}<|call|>`,
    ],
  ])("with %s is an answer's text in a chat, streamed and not, and counted", async (_name, fields, written) => {
    await say(written);
    const before = await refusedCalls();
    const { body } = await fixture.post("/v1/chat/completions", { messages, ...fields });
    expect(body.choices[0]).toEqual({
      index: 0,
      message: {
        role: "assistant",
        content: ARGUMENTS,
        refusal: null,
        reasoning: "Look it up.",
        reasoning_content: "Look it up.",
      },
      logprobs: null,
      finish_reason: "stop",
      stop_reason: null,
    });
    const chunks = await fixture.stream("/v1/chat/completions", { messages, ...fields });
    const deltas = chunks.map(({ choices: [choice] }) => choice.delta);
    expect(deltas.filter((delta) => "tool_calls" in delta)).toEqual([]);
    expect(deltas.map((delta) => delta.content ?? "").join("")).toBe(ARGUMENTS);
    expect(chunks.at(-1).choices[0].finish_reason).toBe("stop");
    expect(await refusedCalls()).toBe(before + 2);
  });

  it.each<[string, object]>([
    ["no tools", {}],
    ["none of the tools", { tools: flatTools, tool_choice: "none" }],
    ["other tools", { tools: flatTools.slice(1) }],
    ["another one of the tools", { tools: flatTools, tool_choice: time }],
  ])("with %s is a message in a response, streamed and not, and told again", async (_name, fields) => {
    await say(text);
    const request = { input: "Weather in Zürich?", ...fields };
    const { body } = await fixture.post("/v1/responses", request);
    const shownAs = ({ output, status }: { output: { type: string; content: { text: string }[] }[]; status: string }) => ({
      status,
      items: output.map(({ type, content }) => [type, content[0]?.text]),
    });
    const expected = {
      status: "completed",
      items: [
        ["reasoning", "Look it up."],
        ["message", ARGUMENTS],
      ],
    };
    expect(shownAs(body)).toEqual(expected);
    const stream = await client.responses.create({ ...request, model: "tiny", stream: true } as never);
    const events: OpenAI.Responses.ResponseStreamEvent[] = [];
    for await (const event of stream as unknown as AsyncIterable<OpenAI.Responses.ResponseStreamEvent>) events.push(event);
    expect(events.some(({ type }) => type.includes("function_call"))).toBe(false);
    const last = events.at(-1);
    expect(last?.type === "response.completed" && shownAs(last.response as never)).toEqual(expected);
    const again = await fixture.request(`/v1/responses/${body.id}?stream=true`);
    expect(again.body).not.toContain("function_call_arguments");
    expect(again.body).toContain("response.output_text.done");
  });

  it("leaves the calls beside it what they are", async () => {
    const next = "<|end|><|start|>assistant";
    await say(`${call("other", "{}")}${next}${call("get_time", "{}")}${next} to=python<|channel|>analysis<|message|>1<|call|>`);
    const { body } = await fixture.post("/v1/chat/completions", { messages, tools });
    expect(body.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { content: "{}1", tool_calls: [shown("get_time", "{}")] },
    });
  });
});

describe.skipIf(!isGrammarAddonBuilt())("response_format", () => {
  const json_schema = { name: "facts", description: "Facts.", schema: parameters, strict: true };

  it.each([
    [{ type: "json_object" }, '## json_object\n\n{"type":"object"}'],
    [{ type: "json_schema", json_schema }, `## facts\n\n// Facts.\n${JSON.stringify(parameters)}`],
    [{ type: "json_schema", json_schema: { name: "any" } }, "## any\n\n{}"],
  ])("%j is rendered after instructions and functions", async (response_format, text) => {
    await say("x");
    const system = { role: "system", content: "Be brief." };
    await fixture.post("/v1/chat/completions", { messages: [system, ...messages], tools, response_format });
    expect(prompt()).toContain(`\n\nBe brief.\n\n${NAMESPACE}\n\n# Response Formats\n\n${text}<|end|><|start|>user`);
    await fixture.post("/v1/chat/completions", { messages, response_format });
    expect(prompt()).toContain(`<|start|>developer<|message|># Response Formats\n\n${text}<|end|><|start|>user`);
  });

  it("text leaves the prompt as it is", async () => {
    await say("x");
    await fixture.post("/v1/chat/completions", { messages, response_format: { type: "text" } });
    expect(prompt()).not.toContain("Response Formats");
  });
});

const deep = (levels: number): object => (levels === 0 ? {} : { items: deep(levels - 1) });
const declare = (declared: object) => [{ type: "function", function: declared }];

describe("a fault", () => {
  it.each([
    [{ tools: [{ type: "function" }] }, "tools[0].function"],
    [{ tools: [{ type: "custom", custom: { name: "x" } }] }, "tools[0].type"],
    [{ tools: [tools[1], ...declare({ name: "a b" })] }, "tools[1].function.name"],
    [{ tools: declare({ name: "x".repeat(65) }) }, "tools[0].function.name"],
    [{ tools: declare({ name: "f", parameters: [] }) }, "tools[0].function.parameters"],
    [{ tools: declare({ name: "f", parameters: deep(40) }) }, "tools[0].function.parameters"],
    [{ tools: declare({ name: "f", description: "x".repeat(16_385) }) }, "tools[0].function.description"],
    [{ tools: declare({ name: "f", parameters: { title: "x".repeat(524_288) } }) }, "tools"],
    [{ tools: Array.from({ length: 129 }, () => tools[0]) }, "tools"],
    [{ tools, tool_choice: "sometimes" }, "tool_choice"],
    [
      { tools, tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } } },
      "tool_choice.allowed_tools.tools",
    ],
    [{ tool_choice: "required" }, "tool_choice"],
    [{ tools, tool_choice: { type: "function", function: { name: "other" } } }, "tool_choice.function.name"],
    [{ tools, parallel_tool_calls: "yes" }, "parallel_tool_calls"],
    [{ response_format: { type: "xml" } }, "response_format.type"],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema"],
    [{ response_format: { type: "json_schema", json_schema: { name: "a.b" } } }, "response_format.json_schema.name"],
    [{ response_format: { type: "json_schema", json_schema: { name: "a", schema: 1 } } }, "response_format.json_schema.schema"],
    [
      { messages: [{ role: "assistant", tool_calls: [{ id: "1", function: { name: "a b", arguments: "" } }] }] },
      "messages[0].tool_calls[0].function.name",
    ],
  ])("is named by its field", async (fields, param) => {
    const { status, body } = await fixture.post("/v1/chat/completions", { messages, ...fields });
    expect({ status, param: body.error.param }).toEqual({ status: 400, param });
  });

  it("is what a tokenizer without markup cannot express", async () => {
    const plain = await GatewayFixture.start("plain");
    try {
      const refused = async (fields: object) =>
        (await plain.post("/v1/chat/completions", { messages, ...fields })).body.error.param;
      expect(await refused({ tools })).toBe("tools");
      expect(await refused({ response_format: { type: "json_object" } })).toBe("response_format");
    } finally {
      await plain.close();
    }
  });
});
