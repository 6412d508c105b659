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
    ["tools", { tools }],
    ["tools, auto", { tools, tool_choice: "auto" as const }],
    ["tools, none", { tools: [tool("a", { strict: true })], tool_choice: "none" as const }],
    ["text", { tools, response_format: { type: "text" as const } }],
  ])("is free for %s", (_name, body) => expect(constrainedTurn(body)).toBeUndefined());

  it.each([
    ["a format", json_object, { answer, calls: [], preambles: false }],
    ["a format and tools", { ...json_object, tools }, { answer, calls: calls(["a", ANY], ["b", ANY]), preambles: false }],
    ["a format and no tools", { ...json_object, tools, tool_choice: "none" as const }, { answer, calls: [], preambles: false }],
    [
      "a strict tool",
      { tools: [tool("a", { strict: true }), tool("b")] },
      { answer: { kind: "text" }, calls: calls(["a", city], ["b", ANY]), preambles: true },
    ],
    ["a call", { tools, tool_choice: "required" as const }, { calls: calls(["a", city], ["b", city]), preambles: true }],
    [
      "a call that need not be strict",
      { tools: [tool("a", { strict: false })], tool_choice: "required" as const },
      { calls: calls(["a", ANY]), preambles: true },
    ],
    ["one function", { tools, tool_choice: named("b") }, { calls: calls(["b", city]), preambles: true }],
    [
      "allowed tools",
      { tools, tool_choice: allowed("auto", "b", "b") },
      { answer: { kind: "text" }, calls: calls(["b", ANY]), preambles: true },
    ],
    [
      "one of allowed tools",
      { tools, tool_choice: allowed("required", "b", "a") },
      { calls: calls(["b", city], ["a", city]), preambles: true },
    ],
    [
      "a function without parameters",
      { tools: [tool("a", { parameters: undefined })], tool_choice: named("a") },
      { calls: calls(["a", { type: "object", properties: {}, additionalProperties: false }]), preambles: true },
    ],
    [
      "a word",
      { structured_outputs: { choice: ["yes", "no"] } },
      { answer: { kind: "choice", words: ["yes", "no"] }, calls: [], preambles: false },
    ],
  ])("for %s", (_name, body, shape) => expect(constrainedTurn(body)?.shape).toEqual(shape));

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
