import OpenAI from "openai";
import { LengthFinishReasonError } from "openai/error";
import { zodResponseFormat } from "openai/helpers/zod";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { collect, expectObject, only, SUM_SCHEMA, USER_QUESTION, type Use } from "./use.js";

type Fields = Omit<Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>, "stream">;

/** Everything that strict schemas of OpenAI's may have, bounded so that any model comes to an end. */
const SHEET = z.object({
  result: z.int().min(0).max(999),
  kind: z.enum(["sum", "difference"]),
  remark: z.string().max(20).nullable(),
  steps: z.array(z.object({ text: z.string().max(20), isLast: z.boolean() })).max(2),
  either: z.union([z.literal("a"), z.literal(1)]),
});

export function formatFeatures(use: () => Use): void {
  const request = (fields: Fields = {}) => ({
    model: use().model,
    messages: [{ role: "user" as const, content: USER_QUESTION }],
    temperature: 0,
    max_completion_tokens: 2_000,
    ...fields,
  });
  const ask = async (fields: Fields) => only((await use().client.chat.completions.create(request(fields))).choices);
  const streamed = async (fields: Fields) => {
    const chunks = await collect(await use().client.chat.completions.create({ ...request(fields), stream: true }));
    return chunks.flatMap((chunk) => chunk.choices.map(({ delta }) => delta.content ?? "")).join("");
  };

  describe("response_format of client.chat.completions", () => {
    it("text: is as none", async () => {
      const { message } = await ask({ response_format: { type: "text" } });
      expect(message.content).toBe((await ask({})).message.content);
    });

    it("json_object: the answer is one, streamed and not", async () => {
      const fields = { response_format: { type: "json_object" as const }, max_completion_tokens: 200 };
      const { message, finish_reason } = await ask(fields);
      expectObject(message.content ?? "", finish_reason === "stop");
      expect(await streamed(fields)).toBe(message.content);
    });

    it("json_schema, strict: the answer is valid, streamed and not", async () => {
      const json_schema = { name: "sum", description: "A sum.", schema: SUM_SCHEMA, strict: true };
      const fields = { response_format: { type: "json_schema" as const, json_schema } };
      const { message, finish_reason } = await ask(fields);
      expect(finish_reason).toBe("stop");
      expect(JSON.parse(message.content ?? "")).toEqual({ result: expect.any(Number) });
      expect(await streamed(fields)).toBe(message.content);
    });

    it("parse(): the message as zod has it", async () => {
      const response_format = zodResponseFormat(SHEET, "sheet");
      const completion = await use().client.chat.completions.parse({ ...request(), response_format });
      const { message } = only(completion.choices);
      expect(SHEET.parse(message.parsed)).toEqual(JSON.parse(message.content ?? ""));
    });

    it("parse(): whatever is drawn is valid, at temperature 2", async () => {
      const response_format = zodResponseFormat(SHEET, "sheet");
      const fields = { temperature: 2, n: 8, seed: 3 };
      const { choices } = await use().client.chat.completions.create({ ...request(fields), response_format });
      const ended = choices.filter(({ finish_reason }) => finish_reason === "stop");
      expect(ended.length).toBeGreaterThan(0);
      for (const { message } of ended) SHEET.parse(JSON.parse(message.content ?? ""));
    });

    it("parse(): an answer that was cut is LengthFinishReasonError", async () => {
      const response_format = zodResponseFormat(SHEET, "sheet");
      const cut = use().client.chat.completions.parse({ ...request({ max_completion_tokens: 8 }), response_format });
      await expect(cut).rejects.toThrow(LengthFinishReasonError);
    });

    it("stream(): the helper parses what is done", async () => {
      const running = use().client.chat.completions.stream({ ...request(), response_format: zodResponseFormat(SHEET, "sheet") });
      const done: unknown[] = [];
      running.on("content.done", ({ parsed }) => done.push(parsed));
      const completion = await running.finalChatCompletion();
      expect(SHEET.parse(only(done))).toEqual(only(completion.choices).message.parsed);
    });

    it.each([
      ["a regex", { structured_outputs: { regex: "[a-f]{3}-\\d{2}" } }, /^[a-f]{3}-\d{2}$/],
      ["EBNF", { structured_outputs: { grammar: 'root ::= answer " " [0-9]\nanswer ::= "yes" | "no"' } }, /^(yes|no) \d$/],
      ["Lark", { guided_grammar: 'start: WORD "!"\nWORD: /[a-z]{1,8}/' }, /^[a-z]{1,8}!$/],
      ["a choice", { guided_choice: ["certainly", "never"] }, /^(certainly|never)$/],
    ] as const)("%s, in fields beside OpenAI's: the text obeys, in every API, streamed and not", async (_name, more, pattern) => {
      const { client, model } = use();
      // The client's types have no such fields, and it sends whatever it is given.
      const fields = more as object;
      const { message } = await ask(fields);
      expect(message.content).toMatch(pattern);
      expect(await streamed(fields)).toBe(message.content);
      const completion = await client.completions.create({ model, prompt: USER_QUESTION, max_tokens: 100, ...fields });
      expect(only(completion.choices).text).toMatch(pattern);
      const response = await client.responses.create({ model, input: USER_QUESTION, temperature: 0, ...fields });
      expect(response.output_text).toBe(message.content);
    });

    it("json_schema that cannot be enforced: is refused by name", async () => {
      const json_schema = { name: "x", schema: { type: "array", uniqueItems: true }, strict: true };
      const refused = ask({ response_format: { type: "json_schema", json_schema } });
      await expect(refused).rejects.toThrow(OpenAI.BadRequestError);
      await expect(refused).rejects.toMatchObject({
        param: expect.stringContaining("response_format"),
        message: expect.stringContaining("uniqueItems"),
      });
    });
  });
}
