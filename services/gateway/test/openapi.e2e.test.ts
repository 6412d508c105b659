import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GatewayFixture, type JsonAnswer } from "./gateway-fixture.js";

let fixture: GatewayFixture;
let validator: Ajv2020;
let files: string;
beforeAll(async () => {
  files = await mkdtemp(join(tmpdir(), "moiety-openapi-"));
  fixture = await GatewayFixture.start("harmony", { MOIETY_FILES_DIR: files });
  const { body, status } = await fixture.request("/openapi.json");
  expect(status).toBe(200);
  validator = new Ajv2020({ strict: false, allErrors: true });
  validator.addSchema(body, "openapi");
});
afterAll(async () => {
  await fixture.close();
  await rm(files, { recursive: true, force: true });
});

function faults(schema: string, value: unknown): ValidateFunction["errors"] {
  const validate = validator.getSchema(`openapi#/components/schemas/${schema}`);
  if (!validate) throw new Error(`there is no schema ${schema}`);
  return validate(value) ? null : validate.errors;
}

function expectAnswer(schema: string, { status, body }: JsonAnswer, expected = 200): void {
  expect(status).toBe(expected);
  expect(faults(schema, body)).toBeNull();
}

const THOUGHTS = "<|channel|>analysis<|message|>Let me think.<|end|><|start|>assistant";
const FINAL = `${THOUGHTS}<|channel|>final<|message|>It is 2 🙂.<|return|>`;
const CALL = `${THOUGHTS}<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a":1}<|call|>`;
const messages = [{ role: "user", content: [{ type: "text", text: "1+1?" }] }];
const tools = [{ type: "function", function: { name: "add", parameters: { type: "object" } } }];

async function say(text: string): Promise<void> {
  const tokens = (await fixture.ids(text)).map((token) => ({ token, logprob: -1, top: [{ token, logprob: -1 }] }));
  fixture.worker.script = ({ record }) => ({
    tokens,
    promptLogprobs: Array.from(record.promptTokens, (token) => ({ token, logprob: -2, top: [{ token, logprob: -2 }] })),
  });
}

const CHATS: readonly (readonly [name: string, text: string, body: object])[] = [
  ["an answer", FINAL, { messages, seed: 1 }],
  [
    "an answer with all that can be asked for",
    FINAL,
    { messages, n: 2, logprobs: true, top_logprobs: 1, return_token_ids: true, service_tier: "auto" },
  ],
  ["a call", CALL, { messages, tools }],
  ["an answer that was stopped", FINAL, { messages, stop: "2", metadata: { a: "b" }, user: null }],
];
const COMPLETIONS: readonly (readonly [name: string, body: object])[] = [
  ["a text", { prompt: "a" }],
  [
    "texts with all that can be asked for",
    { prompt: ["a", "b"], n: 2, logprobs: 1, echo: true, return_token_ids: true, max_tokens: 9 },
  ],
  ["token ids", { prompt: [1, 2], stop_token_ids: [3] }],
];

describe("the OpenAPI document fits", () => {
  it.each(CHATS)("chats: %s", async (_, text, body) => {
    await say(text);
    expect(faults("ChatRequest", body)).toBeNull();
    expectAnswer("ChatCompletion", await fixture.post("/v1/chat/completions", body));
    for (const options of [{}, { stream_options: { include_usage: true } }]) {
      const chunks = await fixture.stream("/v1/chat/completions", { ...body, ...options });
      expect(chunks.length).toBeGreaterThan(2);
      for (const chunk of chunks) expect(faults("ChatCompletionChunk", chunk)).toBeNull();
    }
  });

  it.each(COMPLETIONS)("completions: %s", async (_, body) => {
    await say("ab");
    expect(faults("CompletionRequest", body)).toBeNull();
    expectAnswer("Completion", await fixture.post("/v1/completions", body));
    for (const options of [{}, { stream_options: { include_usage: true } }]) {
      const chunks = await fixture.stream("/v1/completions", { ...body, ...options });
      expect(chunks.length).toBeGreaterThan(1);
      for (const chunk of chunks) expect(faults("CompletionChunk", chunk)).toBeNull();
    }
  });

  it.each<[name: string, text: string, body: object]>([
    ["an answer", FINAL, { input: "1+1?" }],
    [
      "an answer with all that can be asked for",
      FINAL,
      {
        input: messages.map(({ role }) => ({ role, content: [{ type: "input_text", text: "1+1?" }] })),
        instructions: "Be short.",
        include: ["message.output_text.logprobs", "reasoning.encrypted_content"],
        top_logprobs: 1,
        reasoning: { effort: "high" },
        text: { format: { type: "text" }, verbosity: "low" },
        metadata: { a: "b" },
        temperature: 0,
      },
    ],
    ["a call", CALL, { input: "1+1?", tools: [{ type: "function", name: "add", parameters: { type: "object" } }] }],
    ["an answer that was cut", FINAL, { input: "1+1?", max_output_tokens: 3 }],
  ])("responses: %s", async (_, text, body) => {
    await say(text);
    expect(faults("ResponseRequest", body)).toBeNull();
    const whole = await fixture.post("/v1/responses", body);
    expectAnswer("Response", whole);
    const path = `/v1/responses/${whole.body.id}`;
    expectAnswer("Response", await fixture.request(path));
    expectAnswer("InputItems", await fixture.request(`${path}/input_items`));
    const streamed = await fetch(`${fixture.url}${path}?stream=true`);
    const events = (await streamed.text()).split("\n").filter((line) => line.startsWith("data: "));
    expect(events.length).toBeGreaterThan(2);
    for (const event of events) expect(faults("ResponseEvent", JSON.parse(event.slice(6)))).toBeNull();
    expectAnswer("Error", await fixture.request(`${path}/cancel`, { method: "POST" }), 400);
    expectAnswer("ResponseDeleted", await fixture.request(path, { method: "DELETE" }));
    expectAnswer("Error", await fixture.request(path), 404);
  });

  it("responses in the background", async () => {
    await say(FINAL);
    const begun = await fixture.post("/v1/responses", { input: "1+1?", background: true });
    expectAnswer("Response", begun);
    expectAnswer("Response", await fixture.request(`/v1/responses/${begun.body.id}/cancel`, { method: "POST" }));
  });

  it("files and batches", async () => {
    const form = new FormData();
    const line = { custom_id: "a", method: "POST", url: "/v1/completions", body: { prompt: "a", max_tokens: 2 } };
    form.append("purpose", "batch");
    form.append("file", new Blob([JSON.stringify(line)]), "lines.jsonl");
    const file = await fixture.request("/v1/files", { method: "POST", body: form });
    expectAnswer("File", file);
    expectAnswer("Files", await fixture.request("/v1/files?limit=1"));
    expectAnswer("File", await fixture.request(`/v1/files/${file.body.id}`));
    const request = { input_file_id: file.body.id, endpoint: "/v1/completions", completion_window: "24h" };
    expect(faults("BatchRequest", request)).toBeNull();
    const batch = await fixture.post("/v1/batches", request);
    expectAnswer("Batch", batch);
    expectAnswer("Batches", await fixture.request("/v1/batches"));
    expectAnswer("Batch", await fixture.request(`/v1/batches/${batch.body.id}`));
    const other = await fixture.post("/v1/batches", { ...request, endpoint: "/v1/chat/completions" });
    expectAnswer("Batch", await fixture.request(`/v1/batches/${other.body.id}/cancel`, { method: "POST" }));
    expectAnswer("Error", await fixture.request("/v1/files/file-none"), 404);
    expectAnswer("Error", await fixture.post("/v1/batches", {}), 400);
  });

  it("everything else", async () => {
    expectAnswer("Models", await fixture.request("/v1/models"));
    expectAnswer("Model", await fixture.request("/v1/models/tiny"));
    expectAnswer("Tokenized", await fixture.post("/tokenize", { prompt: "a" }));
    expectAnswer("Tokenized", await fixture.post("/tokenize", { messages, return_token_strs: true }));
    expectAnswer("Detokenized", await fixture.post("/detokenize", { tokens: [1] }));
    expectAnswer("Load", await fixture.request("/load"));
    expectAnswer("Health", await fixture.request("/health"));
    expectAnswer("Ready", await fixture.request("/ready"));
  });

  it.each<[path: string, body: unknown, status: number]>([
    ["/v1/chat/completions", { messages: [] }, 400],
    ["/v1/chat/completions", "{", 400],
    ["/v1/chat/completions", { messages, model: "another" }, 404],
    ["/v1/completions", { prompt: 1 }, 400],
    ["/v1/embeddings", { input: "a" }, 400],
    ["/v1/nothing", {}, 404],
  ])("the errors of %s to %j", async (path, body, status) => {
    expectAnswer("Error", await fixture.post(path, body), status);
  });

  it("bodies that are refused by their shape", () => {
    for (const body of [
      {},
      { messages: [] },
      { messages: [{ role: "nobody", content: "" }] },
      { messages, temperature: 3 },
      { messages, n: "1" },
    ]) {
      expect(faults("ChatRequest", body)).not.toBeNull();
    }
  });
});
