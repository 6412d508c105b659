import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../../packages/queue/test/redis-server.js";
import { GatewayFixture } from "./gateway-fixture.js";

let fixture: GatewayFixture;
beforeAll(async () => {
  fixture = await GatewayFixture.start("plain");
});
afterAll(() => fixture.close());

async function say(text: string, options: object = {}): Promise<void> {
  const tokens = await fixture.ids(text);
  fixture.worker.script = () => ({ tokens, ...options });
}

describe("POST /v1/completions", () => {
  it("answers a text with a text and counts the tokens", async () => {
    await say(" world");
    const { status, body } = await fixture.post("/v1/completions", { model: "tiny", prompt: "hello", max_tokens: 100 });
    expect(status).toBe(200);
    expect(body).toMatchObject({ object: "text_completion", model: "tiny", id: expect.stringMatching(/^cmpl-/) });
    expect(body.choices).toEqual([{ index: 0, text: " world", logprobs: null, finish_reason: "stop", stop_reason: null }]);
    const promptTokens = (await fixture.ids("hello")).length;
    const completionTokens = (await fixture.ids(" world")).length;
    expect(body.usage).toMatchObject({
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
    });
    expect([...fixture.worker.last.record.promptTokens]).toEqual(await fixture.ids("hello"));
  });

  it("hands every sampling parameter to the worker", async () => {
    await say("x");
    const fields = {
      temperature: 0.5,
      top_p: 0.9,
      top_k: 5,
      min_p: 0.1,
      presence_penalty: 0.1,
      frequency_penalty: 0.2,
      repetition_penalty: 1.1,
    };
    const more = {
      seed: -1,
      logit_bias: { "7": -100 },
      min_tokens: 1,
      stop_token_ids: [9],
      logprobs: 3,
      priority: -5,
      cache_salt: "s",
      ignore_eos: true,
    };
    await fixture.post("/v1/completions", { prompt: "p", max_tokens: 7, ...fields, ...more, unknown_field: 1, user: null });
    expect(fixture.worker.last.record).toMatchObject({ tenant: "default", cacheSalt: "default/s", priority: 995 });
    expect(fixture.worker.last.record.params).toEqual({
      temperature: 0.5,
      topP: 0.9,
      topK: 5,
      minP: 0.1,
      presencePenalty: 0.1,
      frequencyPenalty: 0.2,
      repetitionPenalty: 1.1,
      seed: "18446744073709551615",
      logitBias: [[7, -100]],
      minTokens: 1,
      maxTokens: 7,
      stopTokenIds: [9],
      topLogprobs: 3,
    });
  });

  it("takes token ids, several texts and several lists of token ids", async () => {
    fixture.worker.script = (claim) => ({ tokens: [...claim.record.promptTokens].reverse() });
    const ab = await fixture.ids("ab");
    expect((await fixture.post("/v1/completions", { prompt: ab })).body.choices[0].text).toBe(
      fixture.tokenizer.decode([...ab].reverse()),
    );
    const texts = await fixture.post("/v1/completions", { prompt: ["q", "z"], n: 2 });
    expect(texts.body.choices.map((choice: { index: number; text: string }) => [choice.index, choice.text])).toEqual([
      [0, "q"],
      [1, "q"],
      [2, "z"],
      [3, "z"],
    ]);
    expect(texts.body.usage).toMatchObject({ prompt_tokens: 2, completion_tokens: 4 });
    expect(
      (await fixture.post("/v1/completions", { prompt: [[104], [105]] })).body.choices.map(
        (choice: { text: string }) => choice.text,
      ),
    ).toHaveLength(2);
  });

  it("derives the seeds of n choices from one, the first being the client's own", async () => {
    await say("x");
    fixture.worker.claims.length = 0;
    await fixture.post("/v1/completions", { prompt: "p", seed: 5, n: 3 });
    await fixture.post("/v1/completions", { prompt: "p", seed: 5, n: 3 });
    const seeds = fixture.worker.claims.map((claim) => claim.record.params.seed).sort();
    expect(new Set(seeds).size).toBe(3);
    expect(seeds).toContain("5");
    expect(seeds.filter((seed) => seed === "5")).toHaveLength(2);
  });

  it("ends at a stop string that spans tokens, withholds it, and cancels the request", async () => {
    await say("one two END three", { hang: true });
    const { body } = await fixture.post("/v1/completions", { prompt: "p", max_tokens: 100, stop: ["E?", "END"] });
    expect(body.choices[0]).toMatchObject({ text: "one two ", finish_reason: "stop", stop_reason: "END" });
    await until(() => fixture.worker.last.signal.aborted);
  });

  it("delivers what only looked like a stop string", async () => {
    await say("an EN and an E");
    const { body } = await fixture.post("/v1/completions", { prompt: "p", max_tokens: 100, stop: "END" });
    expect(body.choices[0]).toMatchObject({ text: "an EN and an E", finish_reason: "stop", stop_reason: null });
  });

  it("does not show a stop token, and says which it was", async () => {
    fixture.worker.script = () => ({ tokens: [104, 105, 9] });
    const { body } = await fixture.post("/v1/completions", { prompt: "p", stop_token_ids: [9] });
    expect(body.choices[0]).toMatchObject({ text: fixture.tokenizer.decode([104, 105]), finish_reason: "stop", stop_reason: 9 });
    expect(body.usage.completion_tokens).toBe(3);
  });

  it("says length when the tokens run out", async () => {
    await say("abcdefgh");
    const { body } = await fixture.post("/v1/completions", { prompt: "p", max_tokens: 3 });
    expect(body.choices[0].finish_reason).toBe("length");
    expect(body.usage.completion_tokens).toBe(3);
  });

  it("gives log-probabilities with the tokens' places in the text, the prompt's too when it is echoed", async () => {
    const prompt = await fixture.ids("xy");
    const [a] = await fixture.ids("q");
    const logged = {
      token: a ?? 0,
      logprob: -0.5,
      top: [
        { token: a ?? 0, logprob: -0.5 },
        { token: 7, logprob: Number.NEGATIVE_INFINITY },
      ],
    };
    fixture.worker.script = (claim) => ({
      tokens: [logged],
      ...(claim.record.params.promptLogprobs
        ? { promptLogprobs: prompt.map((token, index) => (index === 0 ? { token } : { token, logprob: -2, top: [] })) }
        : {}),
    });
    const { body } = await fixture.post("/v1/completions", { prompt: "xy", logprobs: 2, echo: true });
    expect(body.choices[0].text).toBe("xyq");
    expect(body.choices[0].logprobs).toMatchObject({
      tokens: ["x", "y", "q"],
      token_logprobs: [null, -2, -0.5],
      text_offset: [0, 1, 2],
    });
    expect(body.choices[0].logprobs.top_logprobs[2]).toMatchObject({ q: -0.5 });
    const plain = await fixture.post("/v1/completions", { prompt: "xy", logprobs: 2 });
    expect(plain.body.choices[0].logprobs).toMatchObject({ tokens: ["q"], text_offset: [0] });
  });

  it("streams exactly what it would have answered in one piece", async () => {
    const text = "naïve 🙂 text, with STO and ST and é; then STOP here";
    const tokens = (await fixture.ids(text)).map((token) => ({ token, logprob: -token, top: [{ token, logprob: -token }] }));
    for (const stride of [1, 2, 3, 100]) {
      fixture.worker.script = () => ({ tokens, stride });
      const request = { prompt: "p", max_tokens: 200, stop: ["STOP"], logprobs: 1, echo: true, return_token_ids: true, n: 2 };
      const whole = (await fixture.post("/v1/completions", request)).body;
      const chunks = await fixture.stream("/v1/completions", { ...request, stream_options: { include_usage: true } });
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: whole.usage.completion_tokens } });
      for (const expected of whole.choices) {
        const mine = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === expected.index);
        expect(mine.map((choice) => choice.text).join("")).toBe(expected.text);
        expect(mine.flatMap((choice) => choice.token_ids)).toEqual(expected.token_ids);
        for (const list of ["tokens", "token_logprobs", "top_logprobs", "text_offset"]) {
          expect(mine.flatMap((choice) => choice.logprobs?.[list] ?? [])).toEqual(expected.logprobs[list]);
        }
        expect(mine.at(-1)).toMatchObject({ finish_reason: expected.finish_reason, stop_reason: expected.stop_reason });
        expect(mine.slice(0, -1).every((choice) => choice.finish_reason === null)).toBe(true);
        expect(expected.text).toBe("pnaïve 🙂 text, with STO and ST and é; then ");
      }
    }
  });

  it("cancels the requests of a client that goes away", async () => {
    fixture.worker.script = () => ({ tokens: Array.from({ length: 200 }, () => 104), delayMs: 20 });
    for (const stream of [true, false]) {
      fixture.worker.claims.length = 0;
      const abort = new AbortController();
      const body = JSON.stringify({ prompt: "p", max_tokens: 500, n: 2, stream });
      const asking = fetch(`${fixture.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        signal: abort.signal,
      }).then((response) => response.text());
      asking.catch(() => undefined);
      await until(() => fixture.worker.claims.length === 2);
      await sleep(100);
      abort.abort();
      const goneMs = Date.now();
      await until(() => fixture.worker.claims.every((claim) => claim.signal.aborted), 2_000);
      expect(Date.now() - goneMs).toBeLessThan(1_000);
    }
    expect((await fixture.request("/metrics")).body).toMatch(
      /moiety_http_responses_total\{route="\/v1\/completions",status="499"[^}]*\} 2/,
    );
  });

  it("reports a generation that failed: as a status, or as the last event of a stream", async () => {
    await say("x", { finish: { reason: "error", error: { code: "DEADLINE_EXCEEDED", message: "too late" } } });
    expect(await fixture.post("/v1/completions", { prompt: "p" })).toMatchObject({
      status: 504,
      body: { error: { code: "timeout" } },
    });
    const chunks = await fixture.stream("/v1/completions", { prompt: "p" });
    expect(chunks.at(-1)).toMatchObject({ error: { message: "too late", code: "timeout" } });
  });

  it.each([
    [{ prompt: 5 }, "prompt"],
    [{ prompt: "" }, "prompt"],
    [{ prompt: [] }, "prompt"],
    [{ prompt: [1, 512] }, "prompt[1]"],
    [{ prompt: [[1], [2, 600]] }, "prompt[1][1]"],
    [{ prompt: "x", temperature: "hot" }, "temperature"],
    [{ prompt: "x", temperature: 3 }, "temperature"],
    [{ prompt: "x", n: 1_000 }, "n"],
    [{ prompt: "x", max_tokens: 0 }, "max_tokens"],
    [{ prompt: "x", max_tokens: 1e6 }, "max_tokens"],
    [{ prompt: "x", stop: ["a", "b", "c", "d", "e"] }, "stop"],
    [{ prompt: "x", logit_bias: { "9999": 1 } }, "logit_bias.9999"],
    [{ prompt: "x", logit_bias: { a: 1 } }, "logit_bias.a"],
    [{ prompt: "x", stop_token_ids: [1, 512] }, "stop_token_ids[1]"],
    [{ prompt: "x", logprobs: 100 }, "logprobs"],
    [{ prompt: "x", best_of: 3 }, "best_of"],
    [{ prompt: "x", suffix: "y" }, "suffix"],
    [{ prompt: "x", min_tokens: 99 }, "min_tokens"],
    [{ prompt: Array.from({ length: 5_000 }, () => 1) }, "prompt"],
    [{}, "prompt"],
  ])("names the field at fault in %j", async (body, param) => {
    const { status, body: answer } = await fixture.post("/v1/completions", body);
    expect({ status, param: answer.error.param }).toEqual({ status: 400, param });
    expect(answer.error).toMatchObject({ type: "invalid_request_error", message: expect.stringContaining(String(param)) });
  });
});
