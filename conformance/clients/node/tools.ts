import type OpenAI from "openai";
import { zodFunction } from "openai/helpers/zod";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  AIR_QUALITY,
  CALL_QUESTION,
  collect,
  only,
  POPULATION,
  RAINFALL,
  SURE_QUESTION,
  USER_QUESTION,
  type Use,
} from "./use.js";

type Fields = Omit<Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>, "stream">;
type Call = OpenAI.ChatCompletionMessageToolCall | undefined;

const toolsOf = (...definitions: readonly OpenAI.FunctionDefinition[]): OpenAI.ChatCompletionTool[] =>
  definitions.map((definition) => ({ type: "function", function: { ...definition } }));
const TOOLS = toolsOf(RAINFALL, POPULATION);
/** What leaves the choice to the model. */
const SURE = { messages: [{ role: "user" as const, content: SURE_QUESTION }], tools: toolsOf(AIR_QUALITY, POPULATION) };
const NAMES = TOOLS.map((tool) => (tool.type === "function" ? tool.function.name : ""));
const CITY = z.strictObject({ city: z.string().max(40) });

/** A call as the client has it; its arguments are parsed and checked. */
function checked(call: Call): { readonly name: string; readonly city: string } {
  if (call?.type !== "function") throw new Error(`expected a call of a function, found ${JSON.stringify(call)}`);
  expect(call.id).toMatch(/^call_/);
  return { name: call.function.name, ...CITY.parse(JSON.parse(call.function.arguments)) };
}

export function toolFeatures(use: () => Use): void {
  const request = (fields: Fields = {}) => ({
    model: use().model,
    messages: [{ role: "user" as const, content: CALL_QUESTION }],
    tools: TOOLS,
    temperature: 0,
    ...fields,
  });
  const ask = async (fields?: Fields) => only((await use().client.chat.completions.create(request(fields))).choices);
  /** Whole calls, put together from deltas. */
  const streamed = async (fields?: Fields) => {
    const chunks = await collect(await use().client.chat.completions.create({ ...request(fields), stream: true }));
    const choices = chunks.flatMap((chunk) => chunk.choices);
    const calls: { name: string; arguments: string }[] = [];
    for (const delta of choices.flatMap((choice) => choice.delta.tool_calls ?? [])) {
      calls[delta.index] ??= { name: "", arguments: "" };
      const call = calls[delta.index];
      if (!call) continue;
      call.name += delta.function?.name ?? "";
      call.arguments += delta.function?.arguments ?? "";
    }
    return { calls, finish: choices.at(-1)?.finish_reason };
  };
  const calledBoth = async (fields: Fields) => {
    const { message, finish_reason } = await ask(fields);
    const call = only(message.tool_calls);
    const { name } = checked(call);
    expect(finish_reason).toBe("tool_calls");
    const again = await streamed(fields);
    expect(again.finish).toBe("tool_calls");
    expect(only(again.calls)).toEqual(call.type === "function" ? call.function : undefined);
    return name;
  };

  describe("tools of client.chat.completions", () => {
    it("auto: calls the function that the question needs, streamed and not", async () => {
      expect(await calledBoth({ ...SURE, tool_choice: "auto" })).toBe(AIR_QUALITY.name);
    });

    it("results: the answer to a call goes back, and is answered", async () => {
      const { message } = await ask(SURE);
      const call = only(message.tool_calls);
      const messages: OpenAI.ChatCompletionMessageParam[] = [
        ...SURE.messages,
        message,
        { role: "tool", tool_call_id: call.id, content: '{"air_quality":12}' },
      ];
      const answer = await ask({ ...SURE, messages });
      expect(answer).toMatchObject({ finish_reason: "stop", message: { content: expect.stringContaining("12") } });
    });

    it("required: there is a call, whatever was asked, streamed and not", async () => {
      const messages = [{ role: "user" as const, content: USER_QUESTION }];
      expect(NAMES).toContain(await calledBoth({ tool_choice: "required", messages }));
    });

    it.each([RAINFALL.name, POPULATION.name])("named: %s and no other is called, streamed and not", async (name) => {
      expect(await calledBoth({ tool_choice: { type: "function", function: { name } } })).toBe(name);
    });

    it.each([RAINFALL.name, POPULATION.name])("allowed_tools: %s and no other is called, streamed and not", async (name) => {
      const tools = [{ type: "function", function: { name } }];
      const tool_choice = { type: "allowed_tools" as const, allowed_tools: { mode: "required" as const, tools } };
      expect(await calledBoth({ tool_choice })).toBe(name);
    });

    it.each([
      ["none", { ...SURE, tool_choice: "none" as const }],
      ["none, of strict functions", { tool_choice: "none" as const, tools: toolsOf({ ...RAINFALL, strict: true }) }],
      ["no tools", { messages: SURE.messages, tools: [] }],
    ])("%s: nothing is called, streamed and not", async (_name, fields) => {
      const { message, finish_reason } = await ask(fields);
      expect({ calls: message.tool_calls, finish_reason }).toEqual({ calls: undefined, finish_reason: "stop" });
      expect(await streamed(fields)).toEqual({ calls: [], finish: "stop" });
    });

    it.each([true, false])("parallel_tool_calls %s: is taken", async (parallel_tool_calls) => {
      const { message } = await ask({ parallel_tool_calls, tool_choice: "required" });
      checked(only(message.tool_calls));
    });

    it("parse(): the arguments of strict functions, by zod", async () => {
      const tool = zodFunction({ name: RAINFALL.name, description: RAINFALL.description, parameters: CITY });
      const completion = await use().client.chat.completions.parse({ ...request(), tools: [tool], tool_choice: "required" });
      const call = only(only(completion.choices).message.tool_calls);
      expect(CITY.parse(call.function.parsed_arguments)).toEqual(CITY.parse(JSON.parse(call.function.arguments)));
    });

    it("stream(): the helper's events of a call", async () => {
      const tool = zodFunction({ name: RAINFALL.name, description: RAINFALL.description, parameters: CITY });
      const running = use().client.chat.completions.stream({ ...request(), tools: [tool], tool_choice: "required" });
      let text = "";
      const done: object[] = [];
      running.on("tool_calls.function.arguments.delta", (event) => {
        text += event.arguments_delta;
      });
      running.on("tool_calls.function.arguments.done", (event) => done.push(event));
      await running.done();
      expect(only(done)).toMatchObject({ name: RAINFALL.name, arguments: text, parsed_arguments: CITY.parse(JSON.parse(text)) });
    });

    it.each([true, false])("runTools(): runs the function and gives the answer, streamed: %s", async (stream) => {
      const asked: unknown[] = [];
      const tool = zodFunction({
        name: RAINFALL.name,
        description: RAINFALL.description,
        parameters: CITY,
        function: (given) => {
          asked.push(given);
          return { rainfall: 12 };
        },
      });
      const fields = { ...request(), tools: [tool] };
      const { completions } = use().client.chat;
      const runner = stream ? completions.runTools({ ...fields, stream }) : completions.runTools({ ...fields, stream });
      expect(await runner.finalContent()).toContain("12");
      expect(CITY.parse(only(asked)).city).toBe("Lisbon");
    });
  });
}
