import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type ClusterHandle, openSse, startCluster, waitUntil } from "@moiety/testing";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../src/cluster/ports.js";
import { readStream, seededRequest } from "./seeded-requests.js";
import { moiety } from "./test-model.js";

/** What users of other servers complained of, and does not happen here. `docs/complaints.md` says where each comes from. */

const model = fileURLToPath(new URL("../models/moiety-tiny", import.meta.url));
const addon = fileURLToPath(new URL("../../grammar/build/moiety_grammar.node", import.meta.url));

describe("a cluster of processes", () => {
  let cluster: ClusterHandle;
  let client: OpenAI;
  beforeAll(async () => {
    cluster = await startCluster({ model, expertWorkers: 3, replicas: 2, activation: "bf16" });
    client = new OpenAI({ baseURL: `${cluster.url}/v1`, apiKey: "none", maxRetries: 0 });
  }, 120_000);
  afterAll(() => cluster?.close());

  /** Sum of a metric's samples in the attention worker. */
  async function counted(name: string): Promise<number> {
    const lines = ((await cluster.attentionWorkers[0]?.metrics()) ?? "")
      .split("\n")
      .filter((line) => line.startsWith(`${name}{`));
    if (lines.length === 0) throw new Error(`there is no ${name}`);
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }
  const isIdle = async () => (await counted("vllm:num_requests_running")) + (await counted("vllm:num_requests_waiting")) === 0;

  const bodies = Array.from({ length: 8 }, (_, index) => seededRequest(index, 100));
  const streamAll = (onChunk?: () => void) => Promise.all(bodies.map((body) => readStream(cluster.url, body, onChunk)));
  let undisturbed: Awaited<ReturnType<typeof streamAll>> | undefined;

  it.each(["freezes", "is killed"])(
    "one expert worker that %s, for good, hangs neither the others nor anybody's stream",
    async (how) => {
      undisturbed ??= await streamAll();
      const [dead, ...alive] = cluster.expertWorkers;
      let chunks = 0;
      const disturbed = await streamAll(() => {
        chunks += 1;
        if (chunks !== 160) return;
        if (how === "freezes") dead?.freeze();
        else dead?.kill();
      }).catch((error) => {
        throw new Error(`${error}\n${cluster.describe()}`, { cause: error });
      });
      expect(chunks, "chunks came after the worker was gone").toBeGreaterThan(2 * 160);
      expect(disturbed.map(({ received }) => received)).toEqual(undisturbed.map(({ received }) => received));
      const [later] = await Promise.all([readStream(cluster.url, bodies[0])]);
      expect(later.received).toEqual(undisturbed[0]?.received);
      for (const service of [...alive, ...cluster.attentionWorkers, ...cluster.gateways]) {
        expect([service.name, await service.isReady()]).toEqual([service.name, true]);
      }
      await dead?.restart();
      await cluster.waitReady();
    },
    180_000,
  );

  it("several choices do not compute their prompt several times", async () => {
    // Counters are there once they have counted.
    await client.completions.create({ model: "moiety-tiny", prompt: "Once. ".repeat(100), max_tokens: 1, n: 2 });
    await waitUntil("the worker is idle", isIdle);
    const read = async () => ({
      asked: await counted("vllm:prefix_cache_queries_total"),
      found: await counted("vllm:prefix_cache_hits_total"),
    });
    const before = await read();
    const prompt = Array.from({ length: 150 }, (_, index) => `Number ${index} of the choices.`).join(" ");
    const body = { model: "moiety-tiny", prompt, n: 6, max_tokens: 2, seed: 1 };
    const { choices, usage } = await client.completions.create(body);
    expect(choices).toHaveLength(6);
    const after = await read();
    const asked = after.asked - before.asked;
    const tokens = usage?.prompt_tokens ?? 0;
    expect(tokens).toBeGreaterThan(1_000);
    expect(asked).toBe(6 * tokens);
    // All but the end of a page of each prompt, for all but the first.
    expect(after.found - before.found).toBeGreaterThan(5 * tokens - 5 * 64);
    expect(usage?.prompt_tokens_details?.cached_tokens).toBeLessThan(64);
  });

  it("clients that hang up do not keep their slots: the worker stops computing for them", async () => {
    await waitUntil("the worker is idle", isIdle);
    const before = await counted("moiety_decode_rows_total");
    const maxTokens = 3_000;
    const clients = 4;
    const hangUp = async (seed: number) => {
      const leave = new AbortController();
      const body = { prompt: "On and on", max_tokens: maxTokens, ignore_eos: true, seed, stream: true };
      const { status, events } = await openSse(`${cluster.url}/v1/completions`, { body, signal: leave.signal });
      expect(status).toBe(200);
      let chunks = 0;
      for await (const _ of events) {
        chunks += 1;
        if (chunks === 10) leave.abort();
      }
    };
    const left = await Promise.allSettled(Array.from({ length: clients }, (_, seed) => hangUp(seed)));
    expect(left.map(({ status }) => status)).toEqual(left.map(() => "rejected"));
    await waitUntil("the slots are free", isIdle, { describe: () => cluster.describe() });
    const after = await counted("moiety_decode_rows_total");
    expect(after - before).toBeGreaterThan(clients * 8);
    expect(after - before).toBeLessThan((clients * maxTokens) / 2);
    await sleep(300);
    expect(await counted("moiety_decode_rows_total")).toBe(after);
  }, 60_000);

  describe.skipIf(!existsSync(addon))("with grammars", () => {
    const question = "What is 17 + 25?";
    const schema = {
      type: "object",
      properties: { result: { type: "integer" } },
      required: ["result"],
      additionalProperties: false,
    };
    const format = { type: "json_schema" as const, name: "sum", schema, strict: true };
    const tool = { type: "function" as const, name: "get", strict: true, parameters: schema };

    it("a schema is enforced on the answer, not on the thoughts before it, and not on the turn after it", async () => {
      const first = await client.responses.create({ input: question, text: { format }, temperature: 0 });
      expect(JSON.parse(first.output_text)).toEqual({ result: expect.any(Number) });
      const [thoughts] = first.output;
      if (thoughts?.type !== "reasoning") throw new Error("it did not think");
      const text = thoughts.content?.map((part) => part.text).join("") ?? "";
      expect(text).toMatch(/\S/);
      expect(() => JSON.parse(text)).toThrow();
      const next = await client.responses.create({ input: "Spell zebra", previous_response_id: first.id, temperature: 0 });
      const free = await client.responses.create({ input: "Spell zebra", temperature: 0 });
      expect(next.status).toBe("completed");
      for (const { output_text } of [next, free]) expect(output_text).not.toMatch(/^\s*\{/);
    }, 60_000);

    it("tool_choice: required is not ignored, and the model still thinks", async () => {
      const request = { input: question, tools: [tool], temperature: 0, max_output_tokens: 400 };
      const auto = await client.responses.create({ ...request, tools: [] });
      expect(auto.output.map(({ type }) => type)).toEqual(["reasoning", "message"]);
      const required = await client.responses.create({ ...request, tool_choice: "required" });
      expect(required.status).toBe("completed");
      const [thoughts] = required.output;
      const call = required.output.at(-1);
      expect(thoughts?.type).toBe("reasoning");
      if (call?.type !== "function_call") throw new Error(`it ended in ${call?.type}`);
      expect(call.name).toBe("get");
      expect(JSON.parse(call.arguments)).toEqual({ result: expect.any(Number) });
    }, 60_000);

    it("an invalid schema kills no scheduler: it is a 400, and every process goes on", async () => {
      const pids = () => cluster.services.map(({ process }) => process.pid);
      const before = pids();
      const bad: readonly object[] = [
        { type: "no such type" },
        { type: "object", properties: { a: { $ref: "#/$defs/nowhere" } } },
        { $ref: "#" },
        { type: "string", pattern: "(" },
        { type: "string", pattern: "(?=ahead)" },
        { type: "integer", minimum: 3, maximum: 2 },
        { type: "array", minItems: -1 },
        { allOf: "not a list" },
        { not: {} },
      ];
      for (const own of bad) {
        const asked = client.responses.create({ input: "x", text: { format: { ...format, schema: { ...own } } } });
        await expect(asked, JSON.stringify(own)).rejects.toMatchObject({ status: 400, code: null });
      }
      expect((await client.responses.create({ input: question, text: { format }, temperature: 0 })).status).toBe("completed");
      expect(pids()).toEqual(before);
      for (const service of cluster.services) expect([service.name, await service.isReady()]).toEqual([service.name, true]);
    }, 60_000);
  });
});

/** Without a network but the loopback of its own, which takes Linux's namespaces. */
const isolate = ["-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "isolated"];
const canIsolate = spawnSync("unshare", [...isolate, "true"]).status === 0;

describe.skipIf(!canIsolate)("on a machine without a network", () => {
  it("nothing is downloaded at the start: the cluster is ready and answers", async () => {
    const folder = await mkdtemp(join(tmpdir(), "moiety-offline-"));
    const [port = 0] = await freePorts(1);
    const up: ChildProcess = spawn("unshare", [
      ...[...isolate, process.execPath, moiety],
      ...["up", "--port", String(port), "--data-dir", folder, "--threads", "1"],
    ]);
    const ended = new Promise((resolve) => up.once("exit", resolve));
    let output = "";
    up.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    up.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const inside = async (script: string) => {
      const enter = ["-t", String(up.pid), "-U", "--preserve-credentials", "-n"];
      const { stdout } = await promisify(execFile)("nsenter", [...enter, process.execPath, "-e", script]);
      return stdout.trim();
    };
    try {
      await waitUntil("it is ready", () => output.includes("Moiety is ready"), {
        timeoutMs: 90_000,
        describe: () => output,
        hopeless: () => up.exitCode !== null,
      });
      const outside = `require("net").connect(80, "192.0.2.1").on("error", (error) => console.log(error.code))`;
      expect(await inside(outside)).toBe("ENETUNREACH");
      const body = { messages: [{ role: "user", content: "Hello" }], temperature: 0, max_tokens: 200 };
      const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
      const url = `http://127.0.0.1:${port}/v1/chat/completions`;
      const ask = `fetch("${url}", ${JSON.stringify(init)}).then((response) => response.text()).then(console.log)`;
      const answer: OpenAI.ChatCompletion = JSON.parse(await inside(ask));
      expect(answer.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: expect.stringMatching(/\S/) } });
    } finally {
      if (up.exitCode === null && up.kill("SIGTERM")) await ended;
      await rm(folder, { recursive: true, force: true });
    }
  }, 150_000);
});
