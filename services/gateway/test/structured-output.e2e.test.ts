import { GRAMMAR_ENGINE, isGrammarAddonBuilt } from "@moiety/grammar";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GatewayFixture } from "./gateway-fixture.js";

const messages = [{ role: "user", content: "Weather in Zürich?" }];
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const tools = [
  { type: "function", function: { name: "get_weather", parameters: schema } },
  { type: "function", function: { name: "get_time" } },
];
const json_schema = { name: "facts", schema, strict: true };
const chat = "/v1/chat/completions";

describe.skipIf(!isGrammarAddonBuilt())("an answer that is held to something", () => {
  let fixture: GatewayFixture;
  beforeAll(async () => {
    fixture = await GatewayFixture.start("harmony");
    const tokens = await fixture.ids("<|channel|>final<|message|>{}<|return|>");
    fixture.worker.script = () => ({ tokens });
  });
  afterAll(() => fixture.close());

  const params = () => fixture.worker.last.record.params;

  it.each([
    ["nothing", {}],
    ["text", { response_format: { type: "text" } }],
    ["tools that are not strict, where ends are ignored", { tools, ignore_eos: true }],
    ["tools that are not strict, and a least length", { tools, min_tokens: 2 }],
    ["no tools", { tools, tool_choice: "none", min_tokens: 2 }],
  ])("has no grammar in its record for %s", async (_name, fields) => {
    expect((await fixture.post(chat, { messages, ...fields })).status).toBe(200);
    expect(params().grammar).toBeUndefined();
    expect(params().grammarEngine).toBeUndefined();
  });

  it.each([
    ["a format", { response_format: { type: "json_schema", json_schema } }],
    ["any object", { response_format: { type: "json_object" } }],
    ["a call", { tools, tool_choice: "required" }],
    ["a function", { tools, tool_choice: { type: "function", function: { name: "get_time" } } }],
    ["allowed tools", { tools, tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [tools[0]] } } }],
    ["a strict tool", { tools: [{ type: "function", function: { name: "f", parameters: schema, strict: true } }] }],
    ["a regex", { structured_outputs: { regex: "[a-z]+/\\d" } }],
    ["words", { guided_choice: ["yes", "no"] }],
    ["Lark", { guided_grammar: 'start: "a" | "b"' }],
    ["EBNF", { structured_outputs: { grammar: 'root ::= "a" root | "b"' } }],
    ["a schema as text", { guided_json: JSON.stringify(schema) }],
  ])("has its grammar in its record for %s", async (_name, fields) => {
    const { status, body } = await fixture.post(chat, { messages, ignore_eos: true, ...fields });
    expect({ status, error: body.error }).toEqual({ status: 200, error: undefined });
    expect(params()).toMatchObject({ grammar: expect.stringContaining("<|channel|>"), grammarEngine: GRAMMAR_ENGINE });
    expect(params().stopTokenIds).toEqual(expect.arrayContaining(await fixture.ids("<|return|><|call|>")));
  });

  it.each([
    ["tools that are not strict", { tools }, ["get_weather", "get_time"]],
    ["a choice among none of the tools", { tools, tool_choice: "none" }, []],
  ])("has a grammar of what may be called for %s", async (_name, fields, names) => {
    expect((await fixture.post(chat, { messages, ...fields })).status).toBe(200);
    const called = params().grammar?.match(/(?<=commentary to=functions\.)\w+/g) ?? [];
    expect(called).toEqual(names);
  });

  it("has its grammar in completions too, which end with the model's own ends", async () => {
    const fields = { prompt: ["a", "b"], ignore_eos: true, structured_outputs: { json: schema }, max_tokens: 3 };
    expect((await fixture.post("/v1/completions", fields)).status).toBe(200);
    expect(params().grammar).toContain("start: @answer <[");
    const format = { prompt: "a", response_format: { type: "json_object" } };
    expect((await fixture.post("/v1/completions", format)).status).toBe(200);
    expect(params().grammar).toBeDefined();
  });

  it("shows the model all functions, whichever it may call", async () => {
    await fixture.post(chat, { messages, tools, tool_choice: { type: "function", function: { name: "get_time" } } });
    expect(fixture.tokenizer.decode(fixture.worker.last.record.promptTokens)).toContain("get_weather");
    expect(params().grammar).not.toContain("get_weather");
  });

  const format = (own: object) => ({ response_format: { type: "json_schema", json_schema: { name: "f", schema: own } } });
  const strict = (own: object) => ({
    tools: [tools[0], { type: "function", function: { name: "f", parameters: own, strict: true } }],
  });

  it.each([
    ["response_format.json_schema.schema", format({ type: "array", uniqueItems: true })],
    ["response_format.json_schema.schema", format({ not: {} })],
    ["response_format.json_schema.schema", format({ $ref: "#/$defs/none" })],
    ["response_format.json_schema.schema", format({ type: "integer", minimum: 2, maximum: 1 })],
    ["tools[1].function.parameters", strict({ propertyNames: { pattern: "a" } })],
    ["structured_outputs.regex", { structured_outputs: { regex: "(?=a)b" } }],
    ["structured_outputs.grammar", { structured_outputs: { grammar: 'start: "a" <|end|>' } }],
    ["guided_grammar", { guided_grammar: "root ::= missing" }],
    ["guided_grammar", { guided_grammar: "start: a\na: a" }],
    ["structured_outputs.json", { structured_outputs: { json: "{" } }],
    ["structured_outputs", { structured_outputs: { structural_tag: "x" } }],
    ["structured_outputs.regex", { structured_outputs: { regex: "a".repeat(70_000) } }],
    ["min_tokens", { ...format({}), min_tokens: 2 }],
    ["guided_regex", { ...format({}), guided_regex: "a" }],
  ])("is refused by the name of %s", async (param, fields) => {
    const claims = fixture.worker.claims.length;
    const { status, body } = await fixture.post(chat, { messages, ...fields });
    expect({ status, param: body.error?.param }).toEqual({ status: 400, param });
    expect(body.error.message.length).toBeLessThan(600);
    expect(fixture.worker.claims).toHaveLength(claims);
  });

  it("is refused while other requests go on being served", async () => {
    const hopeless = format({
      enum: Array.from({ length: 20_000 }, (_, index) => `value ${index} ${(index * 2_654_435_761) >>> 0}`),
    });
    const slow = fixture.post(chat, { messages, ...hopeless });
    const [quick] = await Promise.all([fixture.post(chat, { messages }), slow]);
    expect(quick.status).toBe(200);
    expect([200, 400]).toContain((await slow).status);
  });
});
