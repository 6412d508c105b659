import { isGrammarAddonBuilt } from "@moiety/grammar";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GatewayFixture, VOCABULARY } from "./gateway-fixture.js";
import { joinedChat, joinedCompletion, withoutIds } from "./joined-stream.js";

/** A stream, put together, is the answer in one piece: for every feature, whatever the model writes, however its tokens come. */

let fixture: GatewayFixture;
/** Tokens of harmony's parts, so that random outputs have calls, thoughts and answers in them, well formed and not. */
let parts: readonly number[][];
beforeAll(async () => {
  fixture = await GatewayFixture.start("harmony");
  parts = await Promise.all(PARTS.map((part) => fixture.ids(part)));
});
afterAll(() => fixture.close());

const call = (name: string) => `<|channel|>commentary to=functions.${name} <|constrain|>json<|message|>{"city":"Zürich"}`;
const NEXT = "<|end|><|start|>assistant";
const PARTS = [
  `<|channel|>analysis<|message|>Hm 🙂.${NEXT}`,
  "<|channel|>final<|message|>It is 2, é",
  `<|channel|>commentary<|message|>I look.${NEXT}`,
  `${call("get_weather")}${NEXT}`,
  `${call("get_time")}<|call|>`,
  ` to=functions.get_weather<|channel|>analysis<|message|>{}${NEXT}`,
  call("unknown"),
  "<|return|>",
  "<|channel|>",
  "STO",
  "STOP",
];

const messages = [{ role: "user", content: "Weather?" }];
const tools = ["get_weather", "get_time"].map((name) => ({ type: "function", function: { name } }));
const CHATS: readonly (readonly [feature: string, fields: object])[] = [
  ["nothing more", {}],
  ["several choices", { n: 3, seed: 1 }],
  ["stop strings", { stop: ["STOP", "is"] }],
  ["a stop token", { stop_token_ids: [72, 73] }],
  ["log-probabilities", { logprobs: true, top_logprobs: 2 }],
  ["token ids", { return_token_ids: true }],
  ["no thoughts", { include_reasoning: false }],
  ["tools", { tools }],
  ["tools, one call", { tools, parallel_tool_calls: false }],
  ["no tool", { tools, tool_choice: "none" }],
  ["a least length", { tools, min_tokens: 12, stop: "STOP" }],
  ["a limit", { tools, max_completion_tokens: 20 }],
  ["all of it", { tools, n: 2, stop: ["STOP"], logprobs: true, top_logprobs: 1, return_token_ids: true, max_tokens: 60 }],
];
const GRAMMARS: readonly (readonly [feature: string, fields: object])[] = [
  ["a call that has to be", { tools, tool_choice: "required" }],
  ["a named function", { tools, tool_choice: { type: "function", function: { name: "get_time" } } }],
  ["a format", { response_format: { type: "json_object" }, logprobs: true }],
  ["a regex", { structured_outputs: { regex: "[a-z]+" } }],
];
const COMPLETIONS: readonly (readonly [feature: string, fields: object])[] = [
  ["nothing more", {}],
  ["several prompts and choices", { prompt: ["a", "b"], n: 2, seed: 1 }],
  ["stop strings", { stop: ["STOP", "is"] }],
  ["log-probabilities and the prompt", { logprobs: 2, echo: true }],
  ["token ids", { return_token_ids: true, stop_token_ids: [72] }],
  ["a limit", { max_tokens: 9 }],
];

/** Random outputs: most of harmony's parts, some of single tokens. */
const outputs = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.nat(PARTS.length - 1) },
      { weight: 2, arbitrary: fc.nat(VOCABULARY - 1).map((id) => [id]) },
    ),
    {
      maxLength: 12,
    },
  )
  .map((pieces) => pieces.flatMap((piece) => (typeof piece === "number" ? (parts[piece] ?? []) : piece)));

async function check(path: string, fields: object, join: (chunks: readonly object[]) => unknown): Promise<void> {
  await fc.assert(
    fc.asyncProperty(outputs, fc.integer({ min: 1, max: 9 }), async (tokens, stride) => {
      const logged = tokens.map((token) => ({ token, logprob: -token, top: [{ token, logprob: -token }] }));
      fixture.worker.script = ({ record }) => ({
        tokens: logged,
        stride,
        ...(record.params.promptLogprobs
          ? { promptLogprobs: [...record.promptTokens].map((token) => ({ token, logprob: -1, top: [] })) }
          : {}),
      });
      const whole = await fixture.post(path, fields);
      expect({ status: whole.status, error: whole.body.error }).toEqual({ status: 200, error: undefined });
      const chunks = await fixture.stream(path, { ...fields, stream_options: { include_usage: true } });
      const joined = withoutIds(join(chunks));
      const expected = withoutIds(whole.body);
      // Of no tokens, a stream says nothing.
      for (const [index, choice] of expected.choices.entries()) {
        if (choice.logprobs?.content?.length === 0) choice.logprobs = null;
        if (choice.token_ids?.length === 0 && joined.choices[index].token_ids === undefined) delete choice.token_ids;
      }
      expect(joined).toEqual(expected);
      for (const { message, text } of joined.choices) expect(JSON.stringify(message ?? text)).not.toContain("<|");
    }),
    { numRuns: 12 },
  );
}

describe("a chat, streamed, is what it is in one piece", () => {
  it.each(CHATS)(
    "with %s",
    async (_feature, fields) => {
      await check("/v1/chat/completions", { messages, ...fields }, joinedChat);
    },
    60_000,
  );

  it.skipIf(!isGrammarAddonBuilt()).each(GRAMMARS)(
    "with %s",
    async (_feature, fields) => {
      await check("/v1/chat/completions", { messages, ...fields }, joinedChat);
    },
    60_000,
  );
});

describe("a completion, streamed, is what it is in one piece", () => {
  it.each(COMPLETIONS)(
    "with %s",
    async (_feature, fields) => {
      await check("/v1/completions", { prompt: "p", max_tokens: 200, ...fields }, joinedCompletion);
    },
    60_000,
  );
});
