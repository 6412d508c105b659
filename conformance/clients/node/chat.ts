import type OpenAI from "openai";
import { APIUserAbortError } from "openai";
import { describe, expect, it } from "vitest";
import { collect, faultOf, only, reasoningOf, USER_QUESTION, type Use } from "./use.js";

type Fields = Omit<Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>, "stream">;

export function chatFeatures(use: () => Use): void {
  const request = (fields: Fields = {}) => ({
    model: use().model,
    messages: [{ role: "user" as const, content: USER_QUESTION }],
    temperature: 0,
    ...fields,
  });
  const ask = (fields?: Fields) => use().client.chat.completions.create(request(fields));
  const stream = (fields?: Fields) => use().client.chat.completions.create({ ...request(fields), stream: true });
  /** What the chunks of one choice come to. */
  const joined = async (fields?: Fields, index = 0) => {
    const choices = (await collect(await stream(fields))).flatMap((chunk) => chunk.choices);
    const own = choices.filter((choice) => choice.index === index);
    return {
      content: own.map(({ delta }) => delta.content ?? "").join(""),
      reasoning: own.map(({ delta }) => reasoningOf(delta)).join(""),
      finish: own.at(-1)?.finish_reason,
      tokens: own.flatMap(({ logprobs }) => logprobs?.content ?? []),
    };
  };

  describe("client.chat.completions", () => {
    it("create: answers in one piece, with usage", async () => {
      const completion = await ask();
      const { message, finish_reason } = only(completion.choices);
      expect(completion).toMatchObject({
        object: "chat.completion",
        model: use().model,
        id: expect.stringMatching(/^chatcmpl-/),
      });
      expect(Math.abs(completion.created - Date.now() / 1_000)).toBeLessThan(120);
      expect(message).toMatchObject({ role: "assistant", refusal: null, content: expect.stringMatching(/\S/) });
      expect(reasoningOf(message)).not.toBe("");
      expect(finish_reason).toBe("stop");
      const { prompt_tokens = 0, completion_tokens = 0, total_tokens } = completion.usage ?? {};
      expect(total_tokens).toBe(prompt_tokens + completion_tokens);
      expect(completion.usage?.completion_tokens_details?.reasoning_tokens).toBeGreaterThan(0);
    });

    it("create, streamed: the deltas are the answer in one piece", async () => {
      const { message, finish_reason } = only((await ask()).choices);
      const { content, reasoning, finish } = await joined();
      expect({ content, reasoning, finish }).toEqual({
        content: message.content,
        reasoning: reasoningOf(message),
        finish: finish_reason,
      });
    });

    it("stream_options.include_usage: one more chunk has the usage", async () => {
      const whole = await ask();
      const chunks = await collect(
        await use().client.chat.completions.create({ ...request(), stream: true, stream_options: { include_usage: true } }),
      );
      const last = chunks.at(-1);
      expect(last?.choices).toEqual([]);
      expect(last?.usage?.total_tokens).toBe(whole.usage?.total_tokens);
      expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    });

    it("stream(): the helper's events and final completion", async () => {
      const running = use().client.chat.completions.stream({ ...request(), stream_options: { include_usage: true } });
      let text = "";
      const done: string[] = [];
      running.on("content.delta", ({ delta }) => {
        text += delta;
      });
      running.on("content.done", ({ content }) => done.push(content));
      const whole = await ask();
      expect(only((await running.finalChatCompletion()).choices).message.content).toBe(only(whole.choices).message.content);
      expect(only(done)).toBe(text);
      expect(await running.finalContent()).toBe(text);
      expect((await running.totalUsage()).total_tokens).toBe(whole.usage?.total_tokens);
    });

    it("messages: system, developer, assistant, and text parts", async () => {
      const plain = await ask({ messages: [{ role: "system", content: "Be brief." }, ...request().messages] });
      const parts = await ask({
        messages: [
          { role: "system", content: [{ type: "text", text: "Be brief." }] },
          { role: "user", content: [{ type: "text", text: USER_QUESTION }] },
        ],
      });
      expect(only(parts.choices).message.content).toBe(only(plain.choices).message.content);
      const later = await ask({
        messages: [
          { role: "developer", content: "Be brief." },
          { role: "user", content: USER_QUESTION, name: "ada" },
          { role: "assistant", content: "17 + 25 = 42" },
          { role: "user", content: "and plus 5?" },
        ],
      });
      expect(only(later.choices).message.content).toMatch(/\S/);
    });

    it.each(["low", "medium", "high"] as const)("reasoning_effort %s: thinks, streamed and not", async (reasoning_effort) => {
      const completion = await ask({ reasoning_effort });
      const { message } = only(completion.choices);
      expect(reasoningOf(message)).not.toBe("");
      expect(completion.usage?.completion_tokens_details?.reasoning_tokens).toBeGreaterThan(0);
      expect((await joined({ reasoning_effort })).reasoning).toBe(reasoningOf(message));
    });

    it("n: several choices, streamed and not", async () => {
      const fields = { n: 3, temperature: 1, seed: 7 };
      const { choices } = await ask(fields);
      expect(choices.map(({ index }) => index)).toEqual([0, 1, 2]);
      for (const { index, message } of choices) expect((await joined(fields, index)).content).toBe(message.content);
    });

    it("seed: the same seed and fingerprint, the same answer", async () => {
      const fields = { seed: 11, temperature: 1, top_p: 0.95 };
      const [first, second] = [await ask(fields), await ask(fields)];
      expect(first.system_fingerprint).toMatch(/\S/);
      expect(second.system_fingerprint).toBe(first.system_fingerprint);
      expect(only(second.choices).message).toEqual(only(first.choices).message);
    });

    it("logprobs: of every token of the content, streamed and not", async () => {
      const fields = { logprobs: true, top_logprobs: 3 };
      const { message, logprobs } = only((await ask(fields)).choices);
      const tokens = logprobs?.content ?? [];
      expect(tokens.map(({ token }) => token).join("")).toBe(message.content);
      for (const { logprob, top_logprobs, bytes } of tokens) {
        expect(logprob).toBeLessThanOrEqual(0);
        expect(top_logprobs).toHaveLength(3);
        expect(bytes?.length).toBeGreaterThan(0);
      }
      expect((await joined(fields)).tokens).toEqual(tokens);
    });

    it("stop: the answer ends before it, streamed and not", async () => {
      const whole = only((await ask()).choices).message.content ?? "";
      const stop = whole.slice(2, 4);
      const { message, finish_reason } = only((await ask({ stop: [stop, "unlikely"] })).choices);
      expect(message.content).toBe(whole.slice(0, whole.indexOf(stop)));
      expect(finish_reason).toBe("stop");
      expect(await joined({ stop })).toMatchObject({ content: message.content, finish: "stop" });
    });

    it.each(["max_completion_tokens", "max_tokens"] as const)("%s: ends with length, streamed and not", async (limit) => {
      const completion = await ask({ [limit]: 5 });
      expect(only(completion.choices).finish_reason).toBe("length");
      expect(completion.usage?.completion_tokens).toBe(5);
      expect((await joined({ [limit]: 5 })).finish).toBe("length");
    });

    it("other fields of OpenAI's are taken: penalties, logit_bias, metadata, store, service_tier, user, verbosity, prediction", async () => {
      const completion = await ask({
        presence_penalty: 0.5,
        frequency_penalty: 0.5,
        logit_bias: { 5: -100 },
        metadata: { purpose: "conformance" },
        store: false,
        service_tier: "auto",
        user: "ada",
        safety_identifier: "ada",
        prompt_cache_key: "key",
        verbosity: "low",
        modalities: ["text"],
        prediction: { type: "content", content: "42" },
        max_completion_tokens: 50,
      });
      expect(completion.service_tier).toBe("default");
      expect(completion.choices).toHaveLength(1);
    });

    it("a stream that the client leaves, or aborts, is let go of", async () => {
      const left = await stream({ reasoning_effort: "high" });
      for await (const _ of left) break;
      expect(left.controller.signal.aborted).toBe(true);
      const controller = new AbortController();
      const aborted = use().client.chat.completions.create(request({ reasoning_effort: "high" }), { signal: controller.signal });
      controller.abort();
      await faultOf(APIUserAbortError, aborted);
      expect(only((await ask()).choices).finish_reason).toBe("stop");
    });
  });
}
