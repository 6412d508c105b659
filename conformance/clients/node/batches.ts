import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, { toFile } from "openai";
import { describe, expect, it } from "vitest";
import { collect, faultOf, USER_QUESTION, type Use } from "./use.js";

const ENDED = ["failed", "completed", "expired", "cancelled"];
const CHATS = "/v1/chat/completions";

export function batchFeatures(use: () => Use): void {
  const begin = async (bodies: readonly object[], endpoint: OpenAI.BatchCreateParams["endpoint"] = CHATS) => {
    const lines = bodies.map((body, index) => JSON.stringify({ custom_id: `r${index}`, method: "POST", url: endpoint, body }));
    const file = await toFile(Buffer.from(lines.join("\n")), "requests.jsonl");
    const { id } = await use().client.files.create({ file, purpose: "batch" });
    const metadata = { purpose: "conformance" };
    return use().client.batches.create({ input_file_id: id, endpoint, completion_window: "24h", metadata });
  };
  const ended = async (id: string) => {
    for (;;) {
      const batch = await use().client.batches.retrieve(id);
      if (ENDED.includes(batch.status)) return batch;
      await sleep(100);
    }
  };
  // biome-ignore lint/suspicious/noExplicitAny: looks into answers and errors alike
  const lines = async (fileId: string | undefined): Promise<any[]> => {
    if (!fileId) return [];
    const text = await (await use().client.files.content(fileId)).text();
    return text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  };
  const question = () => ({ model: use().model, messages: [{ role: "user", content: USER_QUESTION }], temperature: 0 });

  describe("client.batches", () => {
    it("create, retrieve until it ends, download answers and errors", async () => {
      const begun = await begin([question(), { ...question(), n: 0 }, { ...question(), n: 2 }]);
      expect(begun).toMatchObject({
        object: "batch",
        endpoint: CHATS,
        metadata: { purpose: "conformance" },
        completion_window: "24h",
      });
      const batch = await ended(begun.id);
      expect(batch).toMatchObject({ status: "completed", request_counts: { total: 3, completed: 2, failed: 1 } });
      expect(batch.usage?.total_tokens).toBeGreaterThan(0);
      const answers = await lines(batch.output_file_id);
      expect(answers.map(({ custom_id }) => custom_id).sort()).toEqual(["r0", "r2"]);
      const live = await use().client.chat.completions.create(question() as OpenAI.ChatCompletionCreateParamsNonStreaming);
      const answer = answers.find(({ custom_id }) => custom_id === "r0");
      expect(answer).toMatchObject({ error: null, response: { status_code: 200, request_id: expect.any(String) } });
      expect(answer.response.body.choices[0].message.content).toBe(live.choices[0]?.message.content);
      expect(await lines(batch.error_file_id)).toMatchObject([{ custom_id: "r1", response: { status_code: 400 } }]);
      await faultOf(OpenAI.ConflictError, use().client.batches.cancel(batch.id));
    });

    it("create with responses: each is what a live one is, and can be retrieved", async () => {
      const { model } = use();
      const asked = { model, input: USER_QUESTION, temperature: 0 };
      const batch = await ended((await begin([asked], "/v1/responses")).id);
      const [line] = await lines(batch.output_file_id);
      const live = await use().client.responses.create(asked);
      const stored = await use().client.responses.retrieve(line.response.body.id);
      expect(stored.output_text).toBe(live.output_text);
      expect(stored.output).toEqual(line.response.body.output);
    });

    it("cancel: ends as cancelled, and every line is accounted for", async () => {
      const { id } = await begin(Array.from({ length: 40 }, () => ({ ...question(), reasoning_effort: "high" })));
      expect(["cancelling", "cancelled"]).toContain((await use().client.batches.cancel(id)).status);
      const { status, request_counts, output_file_id, error_file_id } = await ended(id);
      expect(status).toBe("cancelled");
      const counted = (await lines(output_file_id)).length + (await lines(error_file_id)).length;
      expect(counted).toBe(request_counts?.total);
    });

    it("list: newest first, page by page", async () => {
      const first = await begin([question()]);
      const second = await begin([question()]);
      const ids = (await collect(use().client.batches.list({ limit: 1 }))).map(({ id }) => id);
      expect(ids.slice(0, 2)).toEqual([second.id, first.id]);
      await Promise.all([ended(first.id), ended(second.id)]);
    });

    it("an input at fault: the batch fails and names the line", async () => {
      const file = await toFile(Buffer.from('{"custom_id": "a"}\nnothing'), "bad.jsonl");
      const { id: input_file_id } = await use().client.files.create({ file, purpose: "batch" });
      const begun = await use().client.batches.create({ input_file_id, endpoint: CHATS, completion_window: "24h" });
      const { status, errors } = await ended(begun.id);
      expect(status).toBe("failed");
      expect(errors?.data?.map(({ line }) => line)).toEqual(expect.arrayContaining([1, 2]));
    });

    it("create: of a file that is not there is a NotFoundError", async () => {
      const fields = { endpoint: CHATS, completion_window: "24h" } as const;
      const fault = await faultOf(
        OpenAI.NotFoundError,
        use().client.batches.create({ input_file_id: "file-nothing", ...fields }),
      );
      expect(fault.param).toBe("input_file_id");
    });
  });
}
