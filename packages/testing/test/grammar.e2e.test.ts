import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ClusterHandle, openSse, startCluster } from "../src/index.js";

const model = fileURLToPath(new URL("../../cli/models/moiety-tiny", import.meta.url));
const addon = fileURLToPath(new URL("../../grammar/build/moiety_grammar.node", import.meta.url));

const person = {
  type: "object",
  properties: { name: { type: "string", maxLength: 12 }, age: { type: "integer", minimum: 0, maximum: 150 } },
  required: ["name", "age"],
  additionalProperties: false,
};
const NUMBER = "(0|[1-9][0-9]?)";
const ROW = `\\[${NUMBER}(,${NUMBER}){7}\\]`;
/** As JSON without spaces, of which a model may write any number. */
const LIST_OF_LISTS = `\\[${ROW}(,${ROW}){7}\\]`;
const tools = ["get_person", "get"].map((name) => ({ type: "function", function: { name, parameters: person } }));
const messages = [{ role: "user", content: "Who is there?" }];

/** As many as the grammar of a turn lets through. */
const MAX_CALLS = 32;

interface Choice {
  readonly finish_reason: string;
  readonly message: {
    readonly content: string | null;
    readonly reasoning?: string;
    readonly tool_calls?: readonly { readonly function: { readonly name: string; readonly arguments: string } }[];
  };
}

describe.skipIf(!existsSync(addon))("a cluster that holds answers to grammars", () => {
  let cluster: ClusterHandle;
  beforeAll(async () => {
    cluster = await startCluster({ model, colocated: true, attentionWorkers: 1 });
  }, 120_000);
  afterAll(() => cluster?.close());

  /** Streams a list of lists, and calls `disturb` within it. */
  async function stream(disturb?: () => Promise<unknown>): Promise<string> {
    const body = {
      prompt: "Numbers:",
      structured_outputs: { regex: LIST_OF_LISTS },
      temperature: 1.2,
      seed: 7,
      max_tokens: 600,
      stream: true,
    };
    const response = await openSse(`${cluster.url}/v1/completions`, { body });
    expect(response.status, response.body).toBe(200);
    let text = "";
    let disturbed = false;
    for await (const { data } of response.events) {
      if (data === "[DONE]") return text;
      const chunk: { choices?: { text: string }[]; error?: unknown } = JSON.parse(data);
      expect(chunk.error).toBeUndefined();
      text += chunk.choices?.[0]?.text ?? "";
      if (disturbed || text.length < 20) continue;
      disturbed = true;
      await disturb?.();
    }
    throw new Error(`the stream ended without [DONE] after ${text}`);
  }

  it("writes what was asked for, and the same when its worker is killed amid it", async () => {
    const undisturbed = await stream();
    const rows: unknown = JSON.parse(undisturbed);
    expect(rows).toEqual(Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => expect.any(Number))));
    expect(await stream(async () => cluster.attentionWorkers[0]?.restart())).toBe(undisturbed);
  }, 120_000);

  async function ask(fields: object): Promise<readonly Choice[]> {
    const body = JSON.stringify({ messages, temperature: 0.8, seed: 3, n: 6, max_tokens: 300, ...fields });
    const response = await fetch(`${cluster.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const answer = (await response.json()) as { choices: readonly Choice[] };
    expect(response.status, JSON.stringify(answer)).toBe(200);
    return answer.choices;
  }

  it.each([
    ["required", "required", ["get_person", "get"]],
    ["named", { type: "function", function: { name: "get" } }, ["get"]],
    ["allowed", { type: "allowed_tools", allowed_tools: { mode: "required", tools: [tools[0]] } }, ["get_person"]],
  ])(
    "ends a turn of tool_choice %s in a call of its schema, or at the limit",
    async (_name, tool_choice, names) => {
      const choices = await ask({ tools, tool_choice });
      for (const { finish_reason, message } of choices) {
        expect(["tool_calls", "length"]).toContain(finish_reason);
        if (finish_reason === "length") continue;
        const [call] = message.tool_calls ?? [];
        expect(names).toContain(call?.function.name);
        expect(JSON.parse(call?.function.arguments ?? "")).toEqual({ name: expect.any(String), age: expect.any(Number) });
      }
      expect(choices.some(({ finish_reason }) => finish_reason === "tool_calls")).toBe(true);
    },
    120_000,
  );

  it("makes several calls of one turn where the model goes on, and one where one is wanted", async () => {
    const response = await fetch(`${cluster.url}/tokenize`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "<|end|>" }),
    });
    const { tokens } = (await response.json()) as { tokens: readonly number[] };
    // A model that ends its messages rather than its turn, which the default model does not.
    const logit_bias = { [String(tokens[0])]: 100 };
    const functions = ["first", "second"].map((name) => ({ type: "function", function: { name } }));
    const body = { tools: functions, tool_choice: "required", logit_bias, n: 2, max_tokens: 2_000 };
    for (const { finish_reason, message } of await ask(body)) {
      const calls = message.tool_calls ?? [];
      expect({ finish_reason, count: calls.length }).toEqual({ finish_reason: "tool_calls", count: MAX_CALLS });
      for (const { function: called } of calls)
        expect(called).toEqual({ name: expect.stringMatching(/^(first|second)$/), arguments: "{}" });
    }
    for (const { message } of await ask({ ...body, parallel_tool_calls: false })) expect(message.tool_calls).toHaveLength(1);
  }, 120_000);

  it("answers in a format after thoughts that are free", async () => {
    const choices = await ask({ response_format: { type: "json_schema", json_schema: { name: "person", schema: person } } });
    for (const { finish_reason, message } of choices) {
      if (finish_reason === "length") continue;
      expect(finish_reason).toBe("stop");
      expect(JSON.parse(message.content ?? "")).toEqual({ name: expect.any(String), age: expect.any(Number) });
    }
    expect(choices.some(({ finish_reason }) => finish_reason === "stop")).toBe(true);
    expect(choices.some(({ message }) => (message.reasoning ?? "") !== "")).toBe(true);
  }, 120_000);
});
