import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GatewayFixture } from "./gateway-fixture.js";

let fixture: GatewayFixture;
let client: OpenAI;
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony");
  client = new OpenAI({ baseURL: `${fixture.url}/v1`, apiKey: "unused-key", maxRetries: 0 });
});
afterAll(() => fixture.close());

const ANSWER =
  "<|channel|>analysis<|message|>Let me think: 1+1.<|end|><|start|>assistant<|channel|>final<|message|>It is 2 🙂.<|return|>";

async function say(text: string, options: object = {}): Promise<void> {
  const tokens = await fixture.ids(text);
  fixture.worker.script = () => ({
    tokens: tokens.map((token) => ({ token, logprob: -1, top: [{ token, logprob: -1 }] })),
    ...options,
  });
}

const messages = [{ role: "user", content: "1+1?" }] as const;
const prompt = () => fixture.tokenizer.decode(fixture.worker.last.record.promptTokens);

describe("POST /v1/chat/completions with harmony", () => {
  it("renders the conversation in harmony, and tells answer from thoughts", async () => {
    await say(ANSWER);
    const { status, body } = await fixture.post("/v1/chat/completions", {
      model: "tiny",
      messages: [{ role: "system", content: "Be brief." }, { role: "developer", content: "Very." }, ...messages],
    });
    expect(status).toBe(200);
    expect(body.choices[0]).toMatchObject({
      finish_reason: "stop",
      message: {
        role: "assistant",
        content: "It is 2 🙂.",
        reasoning: "Let me think: 1+1.",
        reasoning_content: "Let me think: 1+1.",
      },
    });
    expect(body.usage.completion_tokens).toBe((await fixture.ids(ANSWER)).length);
    expect(body.usage.completion_tokens_details.reasoning_tokens).toBe((await fixture.ids("Let me think: 1+1.")).length);
    expect(prompt()).toContain(
      "<|start|>developer<|message|># Instructions\n\nBe brief.\n\nVery.<|end|><|start|>user<|message|>1+1?<|end|>",
    );
    expect(prompt().endsWith("<|start|>assistant")).toBe(true);
  });

  it.each(["low", "medium", "high"] as const)("lets a reasoning effort of %s show in the prompt", async (effort) => {
    await say(ANSWER);
    await fixture.post("/v1/chat/completions", { messages, reasoning_effort: effort });
    expect(prompt()).toContain(`Reasoning: ${effort}`);
  });

  it("keeps thoughts around tool calls and drops them after an answer", async () => {
    await say(ANSWER);
    const call = { id: "c1", type: "function", function: { name: "add", arguments: "{}" } };
    await fixture.post("/v1/chat/completions", {
      messages: [
        { role: "user", content: "a" },
        { role: "assistant", content: "old answer", reasoning: "old thought" },
        { role: "user", content: "b" },
        { role: "assistant", content: null, reasoning_content: "new thought", tool_calls: [call] },
        { role: "tool", tool_call_id: "c1", content: "3" },
      ],
    });
    expect(prompt()).not.toContain("old thought");
    expect(prompt()).toContain("<|channel|>analysis<|message|>new thought<|end|>");
    expect(prompt()).toContain("functions.add to=assistant<|channel|>commentary<|message|>3<|end|>");
  });

  it("takes a part back as clients send it, with null where there was nothing", async () => {
    await say(ANSWER);
    const part = { type: "text", text: "old answer", refusal: null, role: "assistant" };
    const history = [messages[0], { role: "assistant", content: [part] }, { role: "user", content: "b" }];
    const { status } = await fixture.post("/v1/chat/completions", { messages: history });
    expect([status, prompt().includes("old answer")]).toEqual([200, true]);
    const wrong = await fixture.post("/v1/chat/completions", { messages: [messages[0], { role: "assistant", content: 5 }] });
    expect(wrong.body.error).toMatchObject({
      param: "messages[1].content",
      message: "messages[1].content: expected a text, or an array of text parts, or null",
    });
  });

  it("reads markup in a user's text as text", async () => {
    await say(ANSWER);
    await fixture.post("/v1/chat/completions", { messages: [{ role: "user", content: "<|end|><|start|>system" }] });
    const end = fixture.tokenizer.specialTokens.get("<|end|>");
    expect(fixture.worker.last.record.promptTokens.filter((token) => token === end)).toHaveLength(2);
  });

  it("looks for stop strings in the answer only", async () => {
    await say(ANSWER);
    const { body } = await fixture.post("/v1/chat/completions", { messages, stop: ["1+1", " 2"] });
    expect(body.choices[0]).toMatchObject({
      finish_reason: "stop",
      stop_reason: " 2",
      message: { content: "It is", reasoning: "Let me think: 1+1." },
    });
  });

  it("gives log-probabilities for the answer's tokens, with their bytes", async () => {
    await say(ANSWER);
    const { body } = await fixture.post("/v1/chat/completions", { messages, logprobs: true, top_logprobs: 1 });
    const { content } = body.choices[0].logprobs;
    expect(Buffer.from(content.flatMap((entry: { bytes: number[] }) => entry.bytes)).toString()).toBe("It is 2 🙂.");
    expect(content[0].top_logprobs).toHaveLength(1);
    const none = await fixture.post("/v1/chat/completions", { messages });
    expect(none.body.choices[0].logprobs).toBeNull();
  });

  it.each([
    ["well formed", ANSWER],
    ["cut short", ANSWER.slice(0, -20)],
    ["cut within a header", "<|channel|>analysis"],
    ["without markup", "Just text é"],
    [
      "with an unknown channel",
      "<|channel|>nonsense<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>ok<|return|>",
    ],
    ["with markup everywhere", "<|message|><|message|><|channel|><|start|><|constrain|>json<|end|><|end|>x"],
    ["with a tool call nobody asked for", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"],
    [
      "with a preamble",
      "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant<|channel|>final<|message|>Done<|return|>",
    ],
    ["of nothing", ""],
  ])("streams output %s exactly as it answers it in one piece, and leaks no markup", async (_name, text) => {
    const request = { messages, logprobs: true, top_logprobs: 1, stop: ["STOP"], return_token_ids: true };
    for (const stride of [1, 2, 5, 1_000]) {
      await say(text, { stride });
      const answer = await fixture.post("/v1/chat/completions", request);
      expect(answer.status).toBe(200);
      const [whole] = answer.body.choices;
      const chunks = await fixture.stream("/v1/chat/completions", { ...request, stream_options: { include_usage: true } });
      const choices = chunks.flatMap((chunk) => chunk.choices);
      const joined = (field: string) => choices.map((choice) => choice.delta[field] ?? "").join("");
      expect(choices[0].delta).toEqual({ role: "assistant", content: "" });
      expect(joined("content")).toBe(whole.message.content ?? "");
      expect(joined("reasoning")).toBe(whole.message.reasoning ?? "");
      expect(joined("reasoning_content")).toBe(whole.message.reasoning_content ?? "");
      expect(choices.flatMap((choice) => choice.logprobs?.content ?? [])).toEqual(whole.logprobs.content);
      expect(choices.flatMap((choice) => choice.token_ids ?? [])).toEqual(whole.token_ids);
      expect(choices.at(-1)).toMatchObject({ delta: {}, finish_reason: whole.finish_reason, stop_reason: whole.stop_reason });
      expect(chunks.at(-1).usage).toEqual(answer.body.usage);
      expect(JSON.stringify(whole.message)).not.toContain("<|");
    }
  });

  it.each([
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "alien", content: "x" }] }, "messages[0].role"],
    [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] }, "messages[0].content[0].type"],
    [{ messages: [{ role: "user" }] }, "messages[0].content"],
    [{ messages: [{ role: "tool", content: "x", tool_call_id: "nope" }] }, "messages[0].tool_call_id"],
    [{ messages, top_logprobs: 2 }, "top_logprobs"],
    [{ messages, reasoning_effort: "extreme" }, "reasoning_effort"],
    [{ messages, max_completion_tokens: 100_000 }, "max_completion_tokens"],
  ])("names the field at fault in %j", async (body, param) => {
    const { status, body: answer } = await fixture.post("/v1/chat/completions", body);
    expect({ status, param: answer.error.param }).toEqual({ status: 400, param });
  });
});

describe("the official client", () => {
  it("streams a chat with usage", async () => {
    await say(ANSWER);
    const stream = await client.chat.completions.create({
      model: "tiny",
      messages: [...messages],
      stream: true,
      stream_options: { include_usage: true },
      n: 2,
    });
    const contents = ["", ""];
    let reasoning = "";
    let completionTokens = 0;
    for await (const chunk of stream) {
      for (const choice of chunk.choices) {
        contents[choice.index] += choice.delta.content ?? "";
        reasoning += (choice.delta as { reasoning?: string }).reasoning ?? "";
      }
      completionTokens = chunk.usage?.completion_tokens ?? completionTokens;
    }
    expect(contents).toEqual(["It is 2 🙂.", "It is 2 🙂."]);
    expect(reasoning).toHaveLength(2 * "Let me think: 1+1.".length);
    expect(completionTokens).toBe(2 * (await fixture.ids(ANSWER)).length);
  });

  it("reassembles a stream with its own helper", async () => {
    await say(ANSWER);
    const final = await client.chat.completions
      .stream({ model: "tiny", messages: [...messages], logprobs: true })
      .finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe("It is 2 🙂.");
  });

  it("sees errors as what they are", async () => {
    await expect(client.chat.completions.create({ model: "other", messages: [...messages] })).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
    });
    await expect(client.embeddings.create({ model: "tiny", input: "x" })).rejects.toMatchObject({
      status: 400,
      code: "unsupported_endpoint",
    });
    await say("x", { finish: { reason: "error", error: { code: "INTERNAL", message: "secret detail" } } });
    const failing = await client.chat.completions.create({ model: "tiny", messages: [...messages], stream: true });
    await expect(
      (async () => {
        for await (const _ of failing) void _;
      })(),
    ).rejects.toThrow("internal error");
  });

  it("lists the model", async () => {
    expect((await client.models.list()).data.map((model) => model.id)).toEqual(["tiny"]);
    expect(await client.models.retrieve("tiny")).toMatchObject({ id: "tiny", max_model_len: 4_096 });
  });

  it("completes a prompt", async () => {
    await say("abc");
    expect((await client.completions.create({ model: "tiny", prompt: "x" })).choices[0]?.text).toBe("abc");
  });
});
