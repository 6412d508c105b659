import type OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { collect, only, type Use } from "./use.js";

type Fields = Omit<Partial<OpenAI.CompletionCreateParamsNonStreaming>, "stream">;

export function completionFeatures(use: () => Use): void {
  const request = (fields: Fields = {}) => ({
    model: use().model,
    prompt: "Once upon a time",
    max_tokens: 12,
    temperature: 0,
    ...fields,
  });
  const ask = (fields?: Fields) => use().client.completions.create(request(fields));
  const stream = async (fields?: Fields) => collect(await use().client.completions.create({ ...request(fields), stream: true }));
  const joined = async (fields?: Fields, index = 0) =>
    (await stream(fields))
      .flatMap(({ choices }) => choices)
      .filter((choice) => choice.index === index)
      .map(({ text }) => text)
      .join("");

  describe("client.completions", () => {
    it("create: a text, with usage, streamed and not", async () => {
      const completion = await ask();
      expect(completion).toMatchObject({ object: "text_completion", id: expect.stringMatching(/^cmpl-/) });
      expect(completion.usage?.completion_tokens).toBeGreaterThan(0);
      expect(await joined()).toBe(only(completion.choices).text);
    });

    it("prompt: several texts, or token ids; n: several of each", async () => {
      const { choices } = await ask({ prompt: ["One", "Two"], n: 2, temperature: 1, seed: 5 });
      expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
      const ids = await ask({ prompt: [10, 11, 12] });
      expect(ids.usage?.prompt_tokens).toBe(3);
      expect((await ask({ prompt: [[10, 11, 12], [13]] })).choices).toHaveLength(2);
    });

    it("seed: the same answer, each choice streamed as in one piece", async () => {
      const fields = { n: 2, temperature: 1, seed: 9 };
      const { choices } = await ask(fields);
      expect((await ask(fields)).choices).toEqual(choices);
      for (const { index, text } of choices) expect(await joined(fields, index)).toBe(text);
    });

    it("echo and logprobs: of the prompt too", async () => {
      const { text, logprobs } = only((await ask({ echo: true, logprobs: 2, max_tokens: 1 })).choices);
      expect(text.startsWith("Once upon a time")).toBe(true);
      expect(logprobs?.tokens?.join("")).toBe(text);
      expect(logprobs?.token_logprobs?.[0]).toBeNull();
      expect(logprobs?.token_logprobs?.slice(1).every((value) => value <= 0)).toBe(true);
      expect(logprobs?.text_offset?.[0]).toBe(0);
    });

    it("stop and max_tokens: why it ended, streamed and not", async () => {
      const whole = only((await ask({ max_tokens: 12 })).choices);
      expect(whole.finish_reason).toBe("length");
      const stop = whole.text.slice(2, 4);
      const stopped = only((await ask({ stop })).choices);
      expect(stopped).toMatchObject({ finish_reason: "stop", text: whole.text.slice(0, whole.text.indexOf(stop)) });
      expect(await joined({ stop })).toBe(stopped.text);
    });

    it("stream_options.include_usage: the last chunk has the usage", async () => {
      const chunks = await stream({ stream_options: { include_usage: true } });
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: (await ask()).usage?.total_tokens } });
    });
  });
}
