import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GatewayFixture, VOCABULARY } from "./gateway-fixture.js";

let fixture: GatewayFixture;
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony");
});
afterAll(() => fixture.close());

const anything = fc.anything({ withNullPrototype: false, maxDepth: 3 });
const functions = fc.record({
  name: fc.oneof(fc.constantFrom("f", "get-it"), fc.string()),
  description: fc.option(fc.string()),
  parameters: fc.oneof(fc.record({ type: fc.constant("object"), properties: fc.dictionary(fc.string(), anything) }), anything),
});
const nearly = {
  model: fc.option(fc.constant("tiny")),
  prompt: fc.oneof(fc.string(), fc.array(fc.integer({ min: -1, max: VOCABULARY })), fc.array(fc.string()), anything),
  messages: fc.oneof(
    fc.array(
      fc.record({ role: fc.constantFrom("system", "user", "assistant", "tool", "x"), content: fc.oneof(fc.string(), anything) }),
    ),
    anything,
  ),
  n: fc.oneof(fc.integer({ min: -1, max: 3 }), anything),
  max_tokens: fc.oneof(fc.integer({ min: -1, max: 20 }), anything),
  temperature: fc.oneof(fc.double(), anything),
  stop: fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 5 }), anything),
  seed: fc.oneof(fc.maxSafeInteger(), fc.double(), anything),
  logit_bias: fc.oneof(fc.dictionary(fc.string(), fc.double()), fc.dictionary(fc.nat({ max: 600 }).map(String), fc.integer())),
  logprobs: fc.oneof(fc.boolean(), fc.integer({ min: -1, max: 25 })),
  echo: fc.boolean(),
  tools: fc.oneof(fc.array(fc.record({ type: fc.constant("function"), function: functions })), anything),
  tool_choice: fc.oneof(fc.constantFrom("auto", "none", "required"), anything),
  response_format: fc.oneof(
    fc.record({ type: fc.constant("json_schema"), json_schema: fc.record({ name: fc.constant("x"), schema: anything }) }),
    fc.record({ type: fc.constantFrom("text", "json_object") }),
    anything,
  ),
  stream: fc.boolean(),
};

const bodies = fc.oneof(
  { weight: 4, arbitrary: fc.record(nearly, { requiredKeys: ["prompt", "messages"] }).map((body) => safeJson(body)) },
  { weight: 1, arbitrary: anything.map((body) => safeJson(body)) },
  { weight: 1, arbitrary: fc.string() },
);

function safeJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ?? "";
}

describe("whatever is sent", () => {
  it.each(["/v1/completions", "/v1/chat/completions"])("%s answers it, or refuses it with a 400 that says why", async (path) => {
    fixture.worker.script = (claim) => ({
      tokens: Array.from({ length: 8 }, (_, index) => (claim.record.promptTokens.length * 31 + index * 97) % VOCABULARY),
      ...(claim.record.params.promptLogprobs
        ? { promptLogprobs: [...claim.record.promptTokens].map((token) => ({ token, logprob: -1, top: [] })) }
        : {}),
    });
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        const answer = await fixture.post(path, body);
        expect([200, 400, 404]).toContain(answer.status);
        if (answer.status !== 200) expect(answer.body.error.message.length).toBeGreaterThan(0);
      }),
      { numRuns: 150 },
    );
    expect((await fixture.request("/health")).status).toBe(200);
  });

  it("whatever tokens the model writes, a chat streams what it answers in one piece, without markup", async () => {
    const beginnings = await Promise.all(
      [
        "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>",
        "<|channel|>final<|message|>",
        "<|call|>",
      ].map((text) => fixture.ids(text)),
    );
    const token = fc
      .oneof(fc.integer({ min: 0, max: VOCABULARY - 1 }), fc.integer({ min: VOCABULARY - 9, max: VOCABULARY - 1 }))
      .map((id) => [id]);
    const tokens = fc
      .array(fc.oneof({ weight: 8, arbitrary: token }, { weight: 1, arbitrary: fc.constantFrom(...beginnings) }), {
        maxLength: 40,
      })
      .map((pieces) => pieces.flat());
    await fc.assert(
      fc.asyncProperty(tokens, fc.integer({ min: 1, max: 7 }), async (output, stride) => {
        fixture.worker.script = () => ({ tokens: output, stride });
        const request = { messages: [{ role: "user", content: "x" }], stop: ["e", "th"], max_tokens: 1_000 };
        const whole = (await fixture.post("/v1/chat/completions", request)).body.choices[0];
        const chunks = (await fixture.stream("/v1/chat/completions", request)).flatMap((chunk) => chunk.choices);
        expect(chunks.map((choice) => choice.delta.content ?? "").join("")).toBe(whole.message.content ?? "");
        const calls = new Map<number, { name: string; arguments: string }>();
        for (const { index, function: part } of chunks.flatMap((choice) => choice.delta.tool_calls ?? [])) {
          const call = calls.get(index);
          calls.set(index, call ? { ...call, arguments: call.arguments + part.arguments } : part);
        }
        const wholeCalls = (whole.message.tool_calls ?? []).map((call: { function: object }) => call.function);
        expect([...calls.values()]).toEqual(wholeCalls);
        expect(chunks.at(-1).finish_reason).toBe(whole.finish_reason);
        expect(chunks.map((choice) => choice.delta.reasoning ?? "").join("")).toBe(whole.message.reasoning ?? "");
        expect(JSON.stringify(whole.message)).not.toMatch(/<\|[a-z]+\|>/);
      }),
      { numRuns: 80 },
    );
  });
});
