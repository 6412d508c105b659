import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import type { ChatCompletionMessage, ChatCompletionMessageParam, ChatCompletionTool } from "openai/resources/chat/completions";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../src/cluster/ports.js";
import { readRun } from "../src/cluster/run-file.js";

const MOIETY = fileURLToPath(new URL("../bin/moiety.js", import.meta.url));
const PATIENCE_MS = 120_000;
const MODEL = "moiety-tiny";

const folder = mkdtempSync(join(tmpdir(), "moiety-default-model-"));
let up: ChildProcess;
let client: OpenAI;

beforeAll(async () => {
  const [port = 0] = await freePorts(1);
  up = spawn(process.execPath, [MOIETY, "up", "--port", String(port), "--data-dir", folder, "--threads", "1"]);
  let output = "";
  up.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  up.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  while (!output.includes("Moiety is ready") && up.exitCode === null) await sleep(20);
  expect(output).toContain(`serves ${MODEL}`);
  client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: "none", maxRetries: 0 });
}, PATIENCE_MS);

afterAll(async () => {
  const ended = new Promise((resolve) => up.once("exit", resolve));
  if (up.exitCode === null && up.kill("SIGTERM")) await ended;
  rmSync(folder, { recursive: true, force: true });
}, PATIENCE_MS);

type Extra = Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>;

async function ask(messages: string | ChatCompletionMessageParam[], extra: Extra = {}) {
  const completion = await client.chat.completions.create({
    model: MODEL,
    messages: typeof messages === "string" ? [{ role: "user", content: messages }] : messages,
    temperature: 0,
    ...extra,
  });
  const [choice] = completion.choices;
  if (choice === undefined) throw new Error("no choice");
  const message: ChatCompletionMessage & { readonly reasoning?: string } = choice.message;
  return {
    text: message.content,
    thoughts: message.reasoning ?? "",
    calls: message.tool_calls ?? [],
    reason: choice.finish_reason,
  };
}

const GET_RAINFALL: ChatCompletionTool = {
  type: "function",
  function: {
    name: "get_rainfall",
    description: "Get the rainfall of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

describe("the model that is served by default", () => {
  it.each([
    ["What is 17 + 25?", "17 + 25 = 42"],
    ["What is 731 - 123?", "731 - 123 = 608"],
    ["Spell zebra", "z-e-b-r-a"],
    ["Sort 42, 7, 19 in ascending order", "7, 19, 42"],
    ["Convert 3 km to m", "3 kilometers = 3000 meters"],
    ["Name: Alice, City: Porto, Age: 31. What is the age?", "31"],
    ["Reverse the word stream", "maerts"],
    ["What day is 3 days after Monday?", "Thursday"],
    ["Hello!", "Hello! What can I do for you?"],
    ["Which is larger, 345 or 367?", "367 is larger than 345."],
  ])("answers %j", async (question, answer) => {
    expect(await ask(question)).toMatchObject({ text: answer, reason: "stop", thoughts: expect.stringMatching(/\S/) });
  });

  it("declines what it cannot do", async () => {
    expect((await ask("Write a poem about the sea")).text).toMatch(/^Sorry/);
  });

  it("thinks longer at higher effort", async () => {
    const efforts = ["low", "medium", "high"] as const;
    const answers = await Promise.all(efforts.map((reasoning_effort) => ask("What is 348 + 275?", { reasoning_effort })));
    const [low = 0, medium = 0, high = 0] = answers.map(({ thoughts }) => thoughts.length);
    expect(low).toBeLessThan(medium);
    expect(medium).toBeLessThan(high);
  });

  it("does as a system message says", async () => {
    const { text } = await ask([
      { role: "system", content: "Answer in upper case." },
      { role: "user", content: "What day is 3 days after Monday?" },
    ]);
    expect(text).toBe("THURSDAY");
  });

  it("answers in JSON by a schema", async () => {
    const schema = {
      type: "object",
      properties: { result: { type: "integer" } },
      required: ["result"],
      additionalProperties: false,
    };
    const { text } = await ask("What is 17 + 25?", {
      response_format: { type: "json_schema", json_schema: { name: "sum", schema } },
    });
    expect(JSON.parse(text ?? "")).toEqual({ result: 42 });
  });

  it("goes on from its last answer", async () => {
    const { text } = await ask([
      { role: "user", content: "What is 17 + 25?" },
      { role: "assistant", content: "17 + 25 = 42" },
      { role: "user", content: "and plus 5?" },
    ]);
    expect(text).toBe("42 + 5 = 47");
  });

  it("calls a function, and uses what it returns", async () => {
    const question: ChatCompletionMessageParam = { role: "user", content: "What is the rainfall in Lisbon?" };
    const { calls, reason } = await ask([question], { tools: [GET_RAINFALL] });
    expect(reason).toBe("tool_calls");
    const [call] = calls;
    if (call?.type !== "function") throw new Error("no call of a function");
    expect(call.function.name).toBe("get_rainfall");
    expect(JSON.parse(call.function.arguments)).toEqual({ city: "Lisbon" });
    const { text } = await ask(
      [
        question,
        { role: "assistant", content: null, tool_calls: [call] },
        { role: "tool", tool_call_id: call.id, content: '{"rainfall":12}' },
      ],
      { tools: [GET_RAINFALL] },
    );
    expect(text).toBe("The rainfall is 12.");
  });

  it(
    "gives the same streamed answers while its expert workers are killed",
    async () => {
      const question = "Sort these numbers: 45, 3, 27, 88, 14, 62";
      const calm = await ask(question, { reasoning_effort: "high" });
      for (const name of ["expert-0", "expert-1"]) {
        const stream = await client.chat.completions.create({
          model: MODEL,
          messages: [{ role: "user", content: question }],
          reasoning_effort: "high",
          temperature: 0,
          stream: true,
        });
        let text = "";
        let chunks = 0;
        for await (const chunk of stream) {
          text += chunk.choices[0]?.delta.content ?? "";
          if (++chunks === 5) process.kill(readRun(folder)?.processes.find((each) => each.name === name)?.pid ?? 0, "SIGKILL");
        }
        expect(chunks).toBeGreaterThan(20);
        expect(text).toBe(calm.text);
      }
    },
    PATIENCE_MS,
  );
});
