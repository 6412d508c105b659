import { describe, expect, it } from "vitest";
import { invalidField } from "../openai/errors.js";
import { parseBody } from "../openai/request-fields.js";
import { toChat } from "./response-chat.js";
import { responseRequestSchema } from "./response-request.js";

const asked = { role: "user", content: "Weather?" };
const thought = { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "Look it up." }] };
const call = { type: "function_call", call_id: "c1", name: "get_weather", arguments: "{}" };
const result = { type: "function_call_output", call_id: "c1", output: "sunny" };
const said = (text: string) => ({ type: "message", role: "assistant", content: [{ type: "output_text", text }] });

async function chatOf(raw: Record<string, unknown>) {
  const body = parseBody(responseRequestSchema, raw);
  const items = body.input.filter((item) => item.type !== "item_reference");
  return toChat(raw, body, [{ items, nameOf: (index) => `input[${index}]` }]);
}

describe("the chat that a request amounts to", () => {
  it("has one message for all that the assistant does before it is answered", async () => {
    const { chat } = await chatOf({
      instructions: "Be brief.",
      input: [asked, thought, said("I look."), call, result, thought, said("Sunny."), said("Really.")],
      max_output_tokens: 9,
      reasoning: { effort: "low" },
      seed: 7,
      n: 3,
      messages: "ignored",
    });
    const toolCall = { id: "c1", type: "function", function: { name: "get_weather", arguments: "{}" } };
    expect(chat).toEqual({
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Weather?" },
        { role: "assistant", content: "I look.", reasoning: "Look it up.", tool_calls: [toolCall] },
        { role: "tool", tool_call_id: "c1", content: "sunny" },
        { role: "assistant", content: "Sunny.", reasoning: "Look it up." },
        { role: "assistant", content: "Really." },
      ],
      max_completion_tokens: 9,
      reasoning_effort: "low",
      seed: 7,
    });
  });

  it("has the tools and the format that were asked for", async () => {
    const schema = { type: "object" };
    const { chat } = await chatOf({
      input: "x",
      tools: [{ type: "function", name: "f", description: "d", parameters: schema, strict: true }],
      tool_choice: "auto",
      text: { format: { type: "json_schema", name: "s", schema, strict: true } },
      include: ["message.output_text.logprobs"],
      top_logprobs: 2,
    });
    expect(chat).toMatchObject({
      tools: [{ type: "function", function: { name: "f", description: "d", parameters: schema, strict: true } }],
      tool_choice: "auto",
      response_format: { type: "json_schema", json_schema: { name: "s", schema, strict: true } },
      logprobs: true,
      top_logprobs: 2,
    });
  });

  it.each([
    [{}, "input"],
    [{ input: [] }, "input"],
    [{ input: 3 }, "input"],
    [{ input: [3] }, "input[0]"],
    [{ input: [{ type: "computer_call" }] }, "input[0].type"],
    [{ input: [{ role: "robot", content: "x" }] }, "input[0].role"],
    [{ input: [asked, { role: "user", content: [{ type: "input_image" }] }] }, "input[1].content[0].type"],
    [{ input: [{ ...call, name: "a b" }] }, "input[0].name"],
    [{ input: [{ ...call, arguments: 1 }] }, "input[0].arguments"],
    [{ input: [{ type: "function_call_output", call_id: "c", output: 1 }] }, "input[0].output"],
    [{ input: [{ ...thought, content: null, encrypted_content: "gAAAAA" }] }, "input[0].encrypted_content"],
    [{ input: "x", tools: [{ type: "web_search" }] }, "tools[0].type"],
    [{ input: "x", tools: [{ type: "function", name: "a b" }] }, "tools[0].name"],
    [{ input: "x", tools: [{ type: "function", name: "f", parameters: [] }] }, "tools[0].parameters"],
    [{ input: "x", tool_choice: "always" }, "tool_choice"],
    [{ input: "x", text: { format: { type: "xml" } } }, "text.format.type"],
    [{ input: "x", text: { format: { type: "json_schema", name: "a b", schema: {} } } }, "text.format.name"],
    [{ input: "x", reasoning: { effort: "minimal" } }, "reasoning.effort"],
    [{ input: "x", max_output_tokens: 0 }, "max_output_tokens"],
    [{ input: "x", include: ["everything"] }, "include[0]"],
    [{ input: "x", truncation: "auto" }, "truncation"],
    [{ input: "x", conversation: "conv_1" }, "conversation"],
    [{ input: "x", background: true, store: false }, "background"],
    [{ input: "x", temperature: 9 }, "temperature"],
    [{ input: "x", stream_options: {} }, "stream_options"],
  ])("is refused for %j, naming %s", async (raw, param) => {
    await expect(chatOf(raw)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { param } });
  });

  it("lets later faults name the client's own fields too", async () => {
    const { named } = await chatOf({ input: [asked, thought, call, result] });
    const names = [
      ["messages[2].tool_call_id", "input[3].call_id"],
      ["messages[1].tool_calls[0].function.arguments", "input[2].arguments"],
      ["response_format.json_schema.schema", "text.format.schema"],
      ["tools[3].function.parameters", "tools[3].parameters"],
      ["max_tokens", "max_output_tokens"],
      ["messages", "input"],
    ] as const;
    for (const [theirs, ours] of names) {
      const fault = named(async () => {
        throw invalidField(theirs, "expected otherwise");
      });
      await expect(fault).rejects.toMatchObject({ message: `${ours}: expected otherwise`, details: { param: ours } });
    }
  });
});
