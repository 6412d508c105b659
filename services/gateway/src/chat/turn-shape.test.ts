import { describe, expect, it } from "vitest";
import { constrainedTurn } from "./turn-shape.js";

const city = { type: "object", properties: { city: { type: "string" } } };
const tool = (name: string, more: object = {}) => ({ type: "function" as const, function: { name, parameters: city, ...more } });
const tools = [tool("a"), tool("b")];
const named = (name: string) => ({ type: "function" as const, function: { name } });
const allowed = (mode: "auto" | "required", ...names: string[]) => ({
  type: "allowed_tools" as const,
  allowed_tools: { mode, tools: names.map(named) },
});
const ANY = { type: "object" };
const json_object = { response_format: { type: "json_object" as const } };
const answer = { kind: "json", schema: ANY };

const calls = (...entries: (readonly [string, object])[]) => entries.map(([name, parameters]) => ({ name, parameters }));

describe("the turn that a chat asks for", () => {
  it.each([
    ["nothing", {}],
    ["no tools", { tools: [] }],
    ["none of no tools", { tool_choice: "none" as const }],
    ["text", { response_format: { type: "text" as const } }],
  ])("is free for %s", (_name, body) => expect(constrainedTurn(body)).toBeUndefined());

  it.each([
    ["a format", json_object, { answer, calls: [], severalCalls: true, preambles: false }],
    [
      "a format and tools",
      { ...json_object, tools },
      { answer, calls: calls(["a", ANY], ["b", ANY]), severalCalls: true, preambles: false },
    ],
    [
      "a format and no tools",
      { ...json_object, tools, tool_choice: "none" as const },
      { answer, calls: [], severalCalls: true, preambles: false },
    ],
    [
      "a strict tool",
      { tools: [tool("a", { strict: true }), tool("b")] },
      { answer: { kind: "text" }, calls: calls(["a", city], ["b", ANY]), severalCalls: true, preambles: true },
    ],
    [
      "a call",
      { tools, tool_choice: "required" as const },
      { calls: calls(["a", city], ["b", city]), severalCalls: true, preambles: true },
    ],
    [
      "a call that need not be strict",
      { tools: [tool("a", { strict: false })], tool_choice: "required" as const },
      { calls: calls(["a", ANY]), severalCalls: true, preambles: true },
    ],
    ["one function", { tools, tool_choice: named("b") }, { calls: calls(["b", city]), severalCalls: false, preambles: true }],
    [
      "allowed tools",
      { tools, tool_choice: allowed("auto", "b", "b") },
      { answer: { kind: "text" }, calls: calls(["b", ANY]), severalCalls: true, preambles: true },
    ],
    [
      "one of allowed tools",
      { tools, tool_choice: allowed("required", "b", "a") },
      { calls: calls(["b", city], ["a", city]), severalCalls: true, preambles: true },
    ],
    [
      "a function without parameters",
      { tools: [tool("a", { parameters: undefined })], tool_choice: named("a") },
      {
        calls: calls(["a", { type: "object", properties: {}, additionalProperties: false }]),
        severalCalls: false,
        preambles: true,
      },
    ],
    [
      "a word",
      { structured_outputs: { choice: ["yes", "no"] } },
      { answer: { kind: "choice", words: ["yes", "no"] }, calls: [], severalCalls: true, preambles: false },
    ],
  ])("for %s", (_name, body, shape) => expect(constrainedTurn(body)?.shape).toEqual(shape));

  it.each([
    ["tools", { tools }, calls(["a", ANY], ["b", ANY])],
    ["tools, auto", { tools, tool_choice: "auto" as const }, calls(["a", ANY], ["b", ANY])],
    ["tools, none", { tools: [tool("a", { strict: true })], tool_choice: "none" as const }, []],
    ["text", { tools, response_format: { type: "text" as const } }, calls(["a", ANY], ["b", ANY])],
  ])("lets nothing else be called for %s, where that can be enforced", (_name, body, callable) => {
    expect(constrainedTurn(body)).toMatchObject({
      isBinding: false,
      shape: { answer: { kind: "text" }, calls: callable, severalCalls: true, preambles: true },
    });
  });

  it("has one call where several are not wanted", () => {
    expect(constrainedTurn({ tools, parallel_tool_calls: false })?.shape.severalCalls).toBe(false);
    expect(constrainedTurn({ tools, tool_choice: "required", parallel_tool_calls: true })?.shape.severalCalls).toBe(true);
  });

  it("names the field of everything that is compiled", () => {
    const strict = tool("c", { strict: true });
    expect(constrainedTurn({ ...json_object, tools: [...tools, strict] })?.asked.map(({ field }) => field)).toEqual([
      "response_format",
      "tools[0].function.parameters",
      "tools[1].function.parameters",
      "tools[2].function.parameters",
    ]);
    expect(constrainedTurn({ tools, tool_choice: named("b") })?.asked.map(({ field }) => field)).toEqual([
      "tools[1].function.parameters",
    ]);
  });

  it.each([
    ["tool_choice", { tool_choice: "required" as const }],
    ["tool_choice.function.name", { tools, tool_choice: named("c") }],
    ["tool_choice.allowed_tools.tools[1].function.name", { tools, tool_choice: allowed("auto", "a", "c") }],
    ["structured_outputs", { structured_outputs: {} }],
    ["structured_outputs.regex", { ...json_object, structured_outputs: { regex: "a" } }],
    ["guided_regex", { guided_json: ANY, guided_regex: "a" }],
    ["structured_outputs.regex", { structured_outputs: { json: ANY, regex: "a" } }],
  ])("with a fault is refused by its field %s", (param, body) => {
    expect(() => constrainedTurn(body)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT", details: { param } }));
  });
});
