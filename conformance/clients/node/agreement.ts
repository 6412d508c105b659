import type OpenAI from "openai";
import { describe, expect, it } from "vitest";
import {
  AIR_QUALITY,
  collect,
  only,
  POPULATION,
  reasoningOf,
  SUM_SCHEMA,
  SURE_QUESTION,
  USER_QUESTION,
  type Use,
} from "./use.js";

/** What an assistant said and did. */
interface Said {
  readonly reasoning: string;
  readonly text: string;
  readonly calls: readonly (readonly [name: string, text: string])[];
}

/** One conversation in the words of both APIs. */
interface Conversation {
  readonly chat: Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, "model" | "stream">;
  readonly response: Omit<OpenAI.Responses.ResponseCreateParamsNonStreaming, "model" | "stream">;
}

const FUNCTIONS = [AIR_QUALITY, POPULATION];
const chatTools = FUNCTIONS.map((definition) => ({ type: "function" as const, function: { ...definition, strict: true } }));
const tools = FUNCTIONS.map((definition) => ({ type: "function" as const, strict: true, ...definition }));
const ARGUMENTS = '{"city":"Lisbon"}';
const RESULT = '{"air_quality":12}';
const asked = (content: string) => ({ role: "user" as const, content });

const CONVERSATIONS: Readonly<Record<string, Conversation>> = {
  "a question": { chat: { messages: [asked(USER_QUESTION)] }, response: { input: USER_QUESTION } },
  "instructions and an effort": {
    chat: { messages: [{ role: "system", content: "Be brief." }, asked(USER_QUESTION)], reasoning_effort: "high" },
    response: { instructions: "Be brief.", input: USER_QUESTION, reasoning: { effort: "high" } },
  },
  "turns before": {
    chat: { messages: [asked("What is 2 + 2?"), { role: "assistant", content: "4" }, asked(USER_QUESTION)] },
    response: { input: [asked("What is 2 + 2?"), { role: "assistant", content: "4" }, asked(USER_QUESTION)] },
  },
  "a draw of a seed": {
    chat: { messages: [asked(USER_QUESTION)], temperature: 1, seed: 5 },
    response: { input: USER_QUESTION, temperature: 1, ...({ seed: 5 } as object) },
  },
  "tools, and a call": {
    chat: { messages: [asked(SURE_QUESTION)], tools: chatTools },
    response: { input: SURE_QUESTION, tools },
  },
  "tools, and none to be called": {
    chat: { messages: [asked(SURE_QUESTION)], tools: chatTools, tool_choice: "none" },
    response: { input: SURE_QUESTION, tools, tool_choice: "none" },
  },
  "tools, and one that has to be called": {
    chat: { messages: [asked(USER_QUESTION)], tools: chatTools, tool_choice: "required" },
    response: { input: USER_QUESTION, tools, tool_choice: "required" },
  },
  "a call's result": {
    chat: {
      messages: [
        asked(SURE_QUESTION),
        {
          role: "assistant",
          tool_calls: [{ id: "c", type: "function", function: { name: AIR_QUALITY.name, arguments: ARGUMENTS } }],
        },
        { role: "tool", tool_call_id: "c", content: RESULT },
      ],
      tools: chatTools,
    },
    response: {
      input: [
        asked(SURE_QUESTION),
        { type: "function_call", call_id: "c", name: AIR_QUALITY.name, arguments: ARGUMENTS },
        { type: "function_call_output", call_id: "c", output: RESULT },
      ],
      tools,
    },
  },
  "a schema": {
    chat: {
      messages: [asked(USER_QUESTION)],
      response_format: { type: "json_schema", json_schema: { name: "sum", schema: SUM_SCHEMA, strict: true } },
    },
    response: {
      input: USER_QUESTION,
      text: { format: { type: "json_schema", name: "sum", schema: SUM_SCHEMA, strict: true } },
    },
  },
};

export function agreementFeatures(use: () => Use): void {
  describe("chats and responses", () => {
    it.each(Object.entries(CONVERSATIONS))(
      "say the same in the same conversation, streamed and not: %s",
      async (_name, { chat, response }) => {
        const { client, model } = use();
        const body = { model, temperature: 0, ...chat };
        const { message } = only((await client.chat.completions.create(body)).choices);
        const said = ofMessage(message);
        expect(said.text !== "" || said.calls.length > 0).toBe(true);
        const running = client.chat.completions.stream({ ...body, stream: true });
        let reasoning = "";
        running.on("chunk", (chunk) => {
          reasoning += reasoningOf(chunk.choices[0]?.delta);
        });
        const streamed = only((await running.finalChatCompletion()).choices).message;
        expect({ ...ofMessage(streamed), reasoning }).toEqual(said);

        const request = { model, temperature: 0, store: false, ...response };
        expect(ofOutput((await client.responses.create(request)).output)).toEqual(said);
        const events = await collect(await client.responses.create({ ...request, stream: true }));
        const last = events.at(-1);
        if (last?.type !== "response.completed") throw new Error(`the stream ended with ${last?.type}`);
        expect(ofOutput(last.response.output)).toEqual(said);
      },
    );
  });
}

function ofMessage(message: OpenAI.ChatCompletionMessage): Said {
  const calls = (message.tool_calls ?? []).flatMap((call) =>
    call.type === "function" ? [[call.function.name, call.function.arguments] as const] : [],
  );
  return { reasoning: reasoningOf(message), text: message.content ?? "", calls };
}

function ofOutput(output: readonly OpenAI.Responses.ResponseOutputItem[]): Said {
  const reasoning: string[] = [];
  const text: string[] = [];
  const calls: [string, string][] = [];
  for (const item of output) {
    if (item.type === "reasoning") reasoning.push(...(item.content ?? []).map((part) => part.text));
    if (item.type === "message") text.push(...item.content.map((part) => (part.type === "output_text" ? part.text : "")));
    if (item.type === "function_call") calls.push([item.name, item.arguments]);
  }
  return { reasoning: reasoning.join(""), text: text.join(""), calls };
}
