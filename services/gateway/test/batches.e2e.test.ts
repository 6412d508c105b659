import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { APIError } from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../../packages/queue/test/redis-server.js";
import type { Gateway } from "../src/index.js";
import { BatchClient, customIds, type ResultLine } from "./batch-client.js";
import { GatewayFixture } from "./gateway-fixture.js";

let fixture: GatewayFixture;
let directory: string;
let client: BatchClient;
const others: Gateway[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "moiety-batches-"));
  fixture = await GatewayFixture.start("plain", {
    MOIETY_FILES_DIR: directory,
    MOIETY_BATCH_LINES: "4",
    MOIETY_BATCH_LEASE_MS: "1000",
    MOIETY_MAX_BATCHES: "2",
    MOIETY_API_KEYS: "alice:key-of-alice,bob:key-of-bob",
  });
  client = new BatchClient(fixture.url, "key-of-alice");
});
afterAll(async () => {
  await Promise.all(others.map((gateway) => gateway.close()));
  await fixture.close();
  await rm(directory, { recursive: true, force: true });
});

/** Answers with the prompt, so that an answer tells whose it is. */
const echo = (options: { delayMs?: number; hang?: boolean } = {}) => {
  fixture.worker.script = ({ record }) => ({ tokens: [...record.promptTokens], ...options });
};
beforeEach(() => {
  fixture.worker.claims.length = 0;
  echo();
});

const promptOf = (line: number) => `line ${String(line).padStart(4, "0")}`;
const prompts = (count: number, more: object = {}) =>
  Array.from({ length: count }, (_, index) => ({ prompt: promptOf(index + 1), max_tokens: 32, ...more }));
const textOf = (line: { response: { body: { choices: { text: string }[] } } }) => line.response.body.choices[0]?.text;
const claimed = () => fixture.worker.claims.map(({ record }) => record.id);
const segments = () => readdir(join(directory, "batches")).catch(() => []);

describe("a batch", () => {
  it("runs every line as a live request would run, and files answers and errors apart", async () => {
    const bodies = [
      ...prompts(2),
      { prompt: "x", temperature: 9 },
      { prompt: "x", stream: true },
      ...prompts(1, { model: "tiny" }),
    ];
    const begun = await client.begin(bodies);
    expect(begun).toMatchObject({
      object: "batch",
      endpoint: "/v1/completions",
      status: "validating",
      completion_window: "24h",
      metadata: { purpose: "test" },
      request_counts: { total: 0, completed: 0, failed: 0 },
      output_file_id: null,
      error_file_id: null,
      errors: null,
    });
    expect((begun.expires_at ?? 0) - begun.created_at).toBe(86_400);
    const ended = await client.ended(begun.id);
    expect(ended).toMatchObject({ status: "completed", request_counts: { total: 5, completed: 3, failed: 2 } });
    for (const time of [ended.in_progress_at, ended.finalizing_at, ended.completed_at]) expect(time).toBeGreaterThan(0);
    const output = await client.results(ended.output_file_id);
    expect(output.map((line) => [line.custom_id, textOf(line), line.response.status_code, line.error])).toEqual([
      ["r1", promptOf(1), 200, null],
      ["r2", promptOf(2), 200, null],
      ["r5", promptOf(1), 200, null],
    ]);
    const tokens = (await fixture.ids(promptOf(1))).length;
    const usage = { prompt_tokens: tokens, completion_tokens: tokens };
    expect(output[0]?.response.body).toMatchObject({ object: "text_completion", usage });
    const errors = await client.results(ended.error_file_id);
    expect(errors.map((line) => [line.custom_id, line.response.status_code, line.response.body.error.param, line.error])).toEqual(
      [
        ["r3", 400, "temperature", null],
        ["r4", 400, "stream", null],
      ],
    );
    expect(ended.usage).toMatchObject({ input_tokens: 3 * tokens, output_tokens: 3 * tokens, total_tokens: 6 * tokens });
    expect(await client.openai.files.retrieve(ended.output_file_id ?? "")).toMatchObject({
      purpose: "batch_output",
      filename: `${begun.id}_output.jsonl`,
    });
    await until(async () => (await segments()).length === 0);
  });

  it("lets live requests pass, and draws the same tokens whoever runs it", async () => {
    const { id } = await client.begin(prompts(1));
    await client.ended(id);
    const [line] = fixture.worker.claims;
    await fixture.post("/v1/completions", { prompt: "x", priority: 1_000 }, { authorization: "Bearer key-of-alice" });
    expect(line?.record.priority).toBeGreaterThan(fixture.worker.last.record.priority);
    expect(line?.record).toMatchObject({ tenant: "alice", params: { seed: expect.stringMatching(/^\d+$/) } });
    expect(line?.record.deadlineAtMs).toBeGreaterThan(Date.now() + 80_000_000);
  });

  it("tries a line again that failed by no fault of its own, three times, and never one that was given up", async () => {
    const failing = (code: string) => ({ tokens: [], finish: { reason: "error" as const, error: { code, message: "secret" } } });
    const claimedPrompts = () => fixture.worker.claims.map(({ record }) => fixture.tokenizer.decode(record.promptTokens));
    fixture.worker.script = ({ record }) => {
      const text = fixture.tokenizer.decode(record.promptTokens);
      if (text === "breaks") return failing("INTERNAL");
      if (text === "kills") return failing("ABORTED");
      const isFirst = claimedPrompts().filter((prompt) => prompt === text).length === 1;
      return text === "recovers" && isFirst ? failing("UNAVAILABLE") : { tokens: [...record.promptTokens] };
    };
    const { id } = await client.begin(
      ["breaks", "kills", "recovers", "fine"].map((prompt) => ({ prompt, max_tokens: 32, n: 1 })),
    );
    const ended = await client.ended(id);
    expect(ended.request_counts).toEqual({ total: 4, completed: 2, failed: 2 });
    expect((await client.results(ended.output_file_id)).map(textOf)).toEqual(["recovers", "fine"]);
    const errors = await client.results(ended.error_file_id);
    expect(errors.map((line) => [line.custom_id, line.response.status_code])).toEqual([
      ["r1", 500],
      ["r2", 503],
    ]);
    expect(errors[0]?.response.body.error.message).not.toContain("secret");
    expect(claimedPrompts().sort()).toEqual(["breaks", "breaks", "breaks", "fine", "kills", "recovers", "recovers"]);
  });

  it("gives a line all the completions that it asks for", async () => {
    const { id } = await client.begin([{ prompt: ["one", "two"], max_tokens: 32, n: 3 }]);
    const ended = await client.ended(id);
    const [line] = await client.results(ended.output_file_id);
    const choices: { index: number; text: string }[] = line?.response.body.choices;
    expect(choices.map(({ index, text }) => [index, text])).toEqual([
      [0, "one"],
      [1, "one"],
      [2, "one"],
      [3, "two"],
      [4, "two"],
      [5, "two"],
    ]);
  });

  it("runs chats too", async () => {
    const chat = (content: string) => ({ messages: [{ role: "user", content }], max_tokens: 3 });
    const { id } = await client.begin([chat("a"), chat("b")], { endpoint: "/v1/chat/completions" });
    const ended = await client.ended(id);
    const output = await client.results(ended.output_file_id);
    expect(output.map((line) => line.response.body.object)).toEqual(["chat.completion", "chat.completion"]);
    expect(output.map((line) => line.response.request_id)).toEqual(output.map((line) => line.response.body.id));
  });

  it("runs responses, and stores each that is to be stored once it has its end", async () => {
    const live = await client.openai.responses.create({ model: "tiny", input: "one" });
    const bodies = [
      { input: "two", previous_response_id: live.id },
      { input: "three", store: false },
      { input: "four", background: true },
      { input: "five", stream: true },
      { input: "six", previous_response_id: `resp_${"0".repeat(32)}` },
    ];
    const { id } = await client.begin(bodies, { endpoint: "/v1/responses" });
    const ended = await client.ended(id);
    expect(ended.request_counts).toEqual({ total: 5, completed: 2, failed: 3 });
    const [two, three] = (await client.results(ended.output_file_id)).map(({ response }) => response);
    expect(two).toMatchObject({ status_code: 200, request_id: two.body.id, body: { object: "response", status: "completed" } });
    expect(two.body.output[0].content[0].text).toContain("one");
    expect(two.body.usage.input_tokens).toBe(two.body.usage.output_tokens);
    expect(ended.usage?.output_tokens).toBe(two.body.usage.output_tokens + three.body.usage.output_tokens);
    const { output_text: _, ...stored } = await client.openai.responses.retrieve(two.body.id);
    expect(stored).toEqual(two.body);
    const notStored = await client.openai.responses.retrieve(three.body.id).catch((error: APIError) => error.status);
    expect(notStored).toBe(404);
    const errors = await client.results(ended.error_file_id);
    expect(errors.map(({ response }) => response.body.error.param)).toEqual(["background", "stream", "previous_response_id"]);
  });

  it("leaves nothing of a response behind that failed, and makes it again", async () => {
    let failures = 0;
    const fails = { tokens: [], finish: { reason: "error" as const, error: { code: "INTERNAL", message: "secret" } } };
    fixture.worker.script = ({ record }) => (failures++ === 0 ? fails : { tokens: [...record.promptTokens] });
    const { id } = await client.begin([{ input: "again" }], { endpoint: "/v1/responses" });
    const [line] = await client.results((await client.ended(id)).output_file_id);
    const ids = fixture.worker.claims.map(({ record }) => record.id);
    expect(new Set(ids).size).toBe(2);
    expect(line?.response.body.id).toBe(ids[1]);
    const first = await client.openai.responses.retrieve(ids[0] ?? "").catch((error: APIError) => error.status);
    expect(first).toBe(404);
  });

  it("fails with the faults of its input, line by line, and runs nothing", async () => {
    const line = { custom_id: "a", method: "POST", url: "/v1/completions", body: { prompt: "x" } };
    const input = await client.upload([line, "{", "", line, { ...line, custom_id: "b", url: "/v1/embeddings" }]);
    const ended = await client.ended((await client.create(input)).id);
    expect(ended).toMatchObject({ status: "failed", output_file_id: null, error_file_id: null });
    expect(ended.errors?.data?.map(({ code, line: number, param }) => [code, number, param])).toEqual([
      ["invalid_json_line", 2, null],
      ["duplicate_custom_id", 4, "custom_id"],
      ["mismatched_url", 5, "url"],
    ]);
    expect(fixture.worker.claims).toEqual([]);
  });

  it("is cancelled at once, and says of every line that did not run that it did not", async () => {
    fixture.worker.script = ({ record }) => ({ tokens: [...record.promptTokens], hang: claimed().length > 2 });
    const { id } = await client.begin(prompts(9));
    await client.until(id, ({ request_counts }) => (request_counts?.completed ?? 0) >= 2);
    const cancelling = await client.openai.batches.cancel(id);
    expect(["cancelling", "cancelled"]).toContain(cancelling.status);
    const ended = await client.ended(id);
    expect(ended.status).toBe("cancelled");
    const output = await client.results(ended.output_file_id);
    const errors = await client.results(ended.error_file_id);
    expect(ended.request_counts).toEqual({ total: 9, completed: output.length, failed: errors.length });
    expect([...output, ...errors].map((line) => line.custom_id).sort()).toEqual(customIds(9));
    expect(new Set(errors.map((line) => line.error?.code))).toEqual(new Set(["batch_cancelled"]));
    await until(() => fixture.worker.claims.slice(2).every((claim) => claim.signal.aborted));
    expect((await client.openai.batches.cancel(id)).status).toBe("cancelled");
  });

  it("expires when its window is over", async () => {
    echo({ hang: true });
    const { id } = await client.begin(prompts(6), { window: "2s" });
    const ended = await client.ended(id);
    expect(ended).toMatchObject({
      status: "expired",
      request_counts: { total: 6, completed: 0, failed: 6 },
      output_file_id: null,
    });
    const errors = await client.results(ended.error_file_id);
    expect(errors.map((line) => [line.custom_id, line.response, line.error.code])).toEqual(
      customIds(6).map((custom) => [custom, null, "batch_expired"]),
    );
    await until(() => fixture.worker.claims.every((claim) => claim.signal.aborted));
  });

  it("belongs to its tenant, keeps its input, and counts against the tenant's room", async () => {
    echo({ hang: true });
    const bob = new BatchClient(fixture.url, "key-of-bob");
    const [first, second] = [await client.begin(prompts(1)), await client.begin(prompts(1))];
    const failure = async (work: PromiseLike<unknown>) => Promise.resolve(work).catch((error: unknown) => error);
    const refused = await failure(client.begin(prompts(1)));
    expect(refused).toBeInstanceOf(APIError);
    expect(refused).toMatchObject({ status: 429 });
    expect(await failure(bob.openai.batches.retrieve(first.id))).toMatchObject({ status: 404 });
    expect(await failure(bob.openai.batches.cancel(first.id))).toMatchObject({ status: 404 });
    expect(await failure(bob.create(first.input_file_id))).toMatchObject({ status: 404, param: "input_file_id" });
    expect(await failure(client.openai.files.delete(first.input_file_id))).toMatchObject({ status: 409 });
    expect((await bob.openai.batches.list()).data).toEqual([]);
    const listed: string[] = [];
    for await (const { id } of client.openai.batches.list({ limit: 2 })) listed.push(id);
    expect(listed.slice(0, 2)).toEqual([second.id, first.id]);
    for (const { id } of [first, second]) await client.openai.batches.cancel(id);
    for (const { id } of [first, second]) await client.ended(id);
    await client.openai.files.delete(first.input_file_id);
  });

  it("is refused for what it cannot be made of", async () => {
    const other = await client.upload(["{}"], "user_data");
    const post = (body: object) => fixture.post("/v1/batches", body, { authorization: "Bearer key-of-alice" });
    const right = { input_file_id: await client.upload(["{}"]), endpoint: "/v1/completions", completion_window: "24h" };
    for (const [param, change, status] of [
      ["endpoint", { endpoint: "/v1/embeddings" }, 400],
      ["completion_window", { completion_window: "1y" }, 400],
      ["input_file_id", { input_file_id: "file-1" }, 404],
      ["input_file_id", { input_file_id: other }, 400],
      ["metadata.k", { metadata: { k: 1 } }, 400],
      ["output_expires_after.seconds", { output_expires_after: { anchor: "created_at", seconds: 1 } }, 400],
    ] as const) {
      expect(await post({ ...right, ...change })).toMatchObject({ status, body: { error: { param } } });
    }
    const path = "/v1/batches/batch_000000000000000000000000";
    expect(await fixture.request(path, { headers: { authorization: "Bearer key-of-alice" } })).toMatchObject({ status: 404 });
  });
});

describe("a batch of many lines, whatever happens meanwhile", () => {
  const LINES = 40;
  const begin = async (bodies: readonly object[] = prompts(LINES), endpoint = "/v1/completions") => {
    echo({ delayMs: 20 });
    const { id } = await client.begin(bodies, { endpoint });
    await client.until(id, ({ request_counts }) => (request_counts?.completed ?? 0) >= 5);
    return id;
  };
  const expectAll = async (id: string, read: (line: ResultLine) => unknown = textOf) => {
    const ended = await client.ended(id, 30_000);
    expect(ended).toMatchObject({ status: "completed", error_file_id: null });
    expect(ended.request_counts).toEqual({ total: LINES, completed: LINES, failed: 0 });
    const output = await client.results(ended.output_file_id);
    expect(output.map((line) => line.custom_id)).toEqual(customIds(LINES));
    expect(output.map(read)).toEqual(prompts(LINES).map(({ prompt }) => prompt));
    return output;
  };

  it("has a result of every line, once, when Redis is killed and comes back", async () => {
    const id = await begin();
    await fixture.redis.kill();
    await fixture.redis.restart();
    await expectAll(id);
  }, 60_000);

  it("has a response of every line, once, and stores them, when Redis is killed and comes back", async () => {
    const inputs = prompts(LINES).map(({ prompt }) => ({ input: prompt, max_output_tokens: 64 }));
    const id = await begin(inputs, "/v1/responses");
    await fixture.redis.kill();
    await fixture.redis.restart();
    const output = await expectAll(id, ({ response }) => /line \d+/.exec(response.body.output[0].content[0].text)?.[0]);
    const ids = output.map(({ response }) => response.body.id);
    expect(new Set(ids).size).toBe(LINES);
    const stored = await Promise.all(ids.map((response) => client.openai.responses.retrieve(response)));
    expect(stored.map(({ output: items }) => items)).toEqual(output.map(({ response }) => response.body.output));
  }, 60_000);

  it("goes on in another gateway when its own shuts down, and no line is computed twice", async () => {
    others.push(await fixture.startAnother());
    const id = await begin();
    const [other] = others;
    client = new BatchClient(`http://127.0.0.1:${other?.port}`, "key-of-alice");
    await fixture.gateway.close();
    await expectAll(id);
    expect(new Set(claimed()).size).toBe(LINES);
    expect(claimed()).toHaveLength(LINES);
  }, 60_000);
});
