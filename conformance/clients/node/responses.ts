import type OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  AIR_QUALITY,
  CALL_QUESTION,
  collect,
  expectObject,
  only,
  POPULATION,
  RAINFALL,
  SURE_QUESTION,
  USER_QUESTION,
  type Use,
} from "./use.js";

type Fields = Omit<Partial<OpenAI.Responses.ResponseCreateParamsNonStreaming>, "stream">;

const toolsOf = (...definitions: readonly { readonly name: string; readonly parameters: object }[]) =>
  definitions.map((definition) => ({ type: "function", ...definition, strict: true }) as OpenAI.Responses.FunctionTool);
const TOOLS = toolsOf(RAINFALL, POPULATION);
/** What leaves the choice to the model. */
const SURE_TOOLS = toolsOf(AIR_QUALITY, POPULATION);
const CITY = z.strictObject({ city: z.string().max(40) });
const SUM = z.strictObject({ result: z.int().min(0).max(999) });

const callsOf = ({ output }: OpenAI.Responses.Response) => output.filter((item) => item.type === "function_call");

export function responseFeatures(use: () => Use): void {
  const request = (fields: Fields = {}) => ({ model: use().model, input: USER_QUESTION, temperature: 0, ...fields });
  const ask = (fields?: Fields) => use().client.responses.create(request(fields));
  const eventsOf = async (fields?: Fields) => collect(await use().client.responses.create({ ...request(fields), stream: true }));

  describe("client.responses", () => {
    it("create: thoughts, a message, usage and what was asked for", async () => {
      const response = await ask({ instructions: "Be brief.", metadata: { purpose: "conformance" }, max_output_tokens: 900 });
      expect(response).toMatchObject({
        object: "response",
        status: "completed",
        error: null,
        incomplete_details: null,
        instructions: "Be brief.",
        max_output_tokens: 900,
        metadata: { purpose: "conformance" },
        temperature: 0,
      });
      expect(response.output.map(({ type }) => type)).toEqual(["reasoning", "message"]);
      expect(response.output_text).toMatch(/\S/);
      const { input_tokens = 0, output_tokens = 0, total_tokens } = response.usage ?? {};
      expect(total_tokens).toBe(input_tokens + output_tokens);
      expect(response.usage?.output_tokens_details.reasoning_tokens).toBeGreaterThan(0);
    });

    it("create, streamed: numbered events that end in what an answer in one piece is", async () => {
      const whole = await ask();
      const events = await eventsOf();
      expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
      expect(events.slice(0, 2).map(({ type }) => type)).toEqual(["response.created", "response.in_progress"]);
      const last = events.at(-1);
      if (last?.type !== "response.completed") throw new Error(`it ends with ${last?.type}`);
      const text = events.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : [])).join("");
      const thoughts = events.flatMap((event) => (event.type === "response.reasoning_text.delta" ? [event.delta] : [])).join("");
      expect(text).toBe(whole.output_text);
      const reasoning = whole.output.find((item) => item.type === "reasoning");
      expect(thoughts).toBe(reasoning?.content?.map((part) => part.text).join(""));
    });

    it("stream(): the helper's events and final response", async () => {
      const running = use().client.responses.stream(request());
      let snapshot = "";
      running.on("response.output_text.delta", (event) => {
        snapshot = event.snapshot;
      });
      const final = await running.finalResponse();
      expect(final.status).toBe("completed");
      expect(final.output_text).toBe(snapshot);
      expect(snapshot).toBe((await ask()).output_text);
    });

    it.each(["low", "medium", "high"] as const)("reasoning.effort %s: thinks, and says so", async (effort) => {
      const response = await ask({ reasoning: { effort } });
      expect(response.reasoning?.effort).toBe(effort);
      expect(response.output[0]).toMatchObject({
        type: "reasoning",
        content: [{ type: "reasoning_text", text: expect.stringMatching(/\S/) }],
      });
    });

    it("input: items of every role, and parts", async () => {
      const response = await ask({
        input: [
          { role: "developer", content: "Be brief." },
          { role: "user", content: [{ type: "input_text", text: USER_QUESTION }] },
          { role: "assistant", content: "17 + 25 = 42" },
          { type: "message", role: "user", content: "and plus 5?" },
        ],
      });
      expect(response.output_text).toMatch(/\S/);
    });

    it("max_output_tokens: the response is incomplete, streamed and not", async () => {
      const cut = { status: "incomplete", incomplete_details: { reason: "max_output_tokens" }, usage: { output_tokens: 16 } };
      expect(await ask({ max_output_tokens: 16 })).toMatchObject(cut);
      expect((await eventsOf({ max_output_tokens: 16 })).at(-1)).toMatchObject({ type: "response.incomplete", response: cut });
    });

    it("include: log-probabilities and sealed thoughts", async () => {
      const { output } = await ask({ include: ["message.output_text.logprobs", "reasoning.encrypted_content"], top_logprobs: 2 });
      const part = output.flatMap((item) => (item.type === "message" ? item.content : []))[0];
      if (part?.type !== "output_text") throw new Error("there is no text");
      expect(part.logprobs?.map(({ token }) => token).join("")).toBe(part.text);
      expect(part.logprobs?.every(({ top_logprobs }) => top_logprobs.length === 2)).toBe(true);
      expect(output.find((item) => item.type === "reasoning")?.encrypted_content).toMatch(/\S/);
    });
  });

  describe("tools of client.responses", () => {
    it("auto: a call, its result, an answer; streamed and not", async () => {
      const asked = { input: SURE_QUESTION, tools: SURE_TOOLS };
      const first = await ask(asked);
      const call = only(callsOf(first));
      expect(call).toMatchObject({ name: AIR_QUALITY.name, call_id: expect.stringMatching(/^call_/), status: "completed" });
      const events = await eventsOf(asked);
      const done = only(events.filter((event) => event.type === "response.function_call_arguments.done"));
      expect(done.arguments).toBe(call.arguments);
      const result = { type: "function_call_output" as const, call_id: call.call_id, output: '{"air_quality":12}' };
      const linked = await ask({ previous_response_id: first.id, input: [result], tools: SURE_TOOLS });
      expect(linked.output_text).toContain("12");
      const history = [{ role: "user" as const, content: SURE_QUESTION }, ...first.output, result];
      const unlinked = await ask({ input: history as OpenAI.Responses.ResponseInput, tools: SURE_TOOLS, store: false });
      expect(unlinked.output_text).toBe(linked.output_text);
    });

    it.each<[string, OpenAI.Responses.ResponseCreateParams["tool_choice"] & {}, readonly string[]]>([
      ["required", "required", [RAINFALL.name, POPULATION.name]],
      ["named", { type: "function", name: POPULATION.name }, [POPULATION.name]],
      [
        "allowed_tools",
        { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: POPULATION.name }] },
        [POPULATION.name],
      ],
    ])("%s: what has to be called is", async (_name, tool_choice, names) => {
      const call = only(callsOf(await ask({ input: USER_QUESTION, tools: TOOLS, tool_choice, parallel_tool_calls: false })));
      expect(names).toContain(call.name);
      CITY.parse(JSON.parse(call.arguments));
    });

    it.each<[string, Fields]>([
      ["none", { tools: SURE_TOOLS, tool_choice: "none" }],
      ["no tools", {}],
    ])("%s: nothing is called, streamed and not", async (_name, more) => {
      const fields = { input: SURE_QUESTION, ...more };
      const { output, status } = await ask(fields);
      expect(status).toBe("completed");
      expect(output.map(({ type }) => type)).toEqual(["reasoning", "message"]);
      const types = (await eventsOf(fields)).map(({ type }) => type);
      expect(types.filter((type) => type.includes("function_call"))).toEqual([]);
      expect(types.at(-1)).toBe("response.completed");
    });

    it("parse(): arguments by zod", async () => {
      const tool = zodResponsesFunction({ name: RAINFALL.name, description: RAINFALL.description, parameters: CITY });
      const fields = { ...request({ input: CALL_QUESTION }), tools: [tool], tool_choice: "required" as const };
      const response = await use().client.responses.parse(fields);
      const call = only(response.output.filter((item) => item.type === "function_call"));
      expect(CITY.parse(call.parsed_arguments)).toEqual(CITY.parse(JSON.parse(call.arguments)));
    });
  });

  describe("text.format of client.responses", () => {
    it("json_object: the text is one", async () => {
      const { output_text, status } = await ask({ text: { format: { type: "json_object" } }, max_output_tokens: 200 });
      expectObject(output_text, status === "completed");
    });

    it("parse(): the text as zod has it", async () => {
      const response = await use().client.responses.parse({ ...request(), text: { format: zodTextFormat(SUM, "sum") } });
      expect(SUM.parse(response.output_parsed)).toEqual(JSON.parse(response.output_text));
    });

    it("stream(): the helper parses the final response", async () => {
      const fields = { ...request(), text: { format: zodTextFormat(SUM, "sum") } };
      const final = await use().client.responses.stream(fields).finalResponse();
      expect(SUM.parse(final.output_parsed)).toEqual(JSON.parse(final.output_text));
    });
  });
}
