import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { collect, faultOf, USER_QUESTION, type Use } from "./use.js";

export function storedResponseFeatures(use: () => Use): void {
  const request = () => ({ model: use().model, input: USER_QUESTION, temperature: 0 });
  const { NotFoundError } = OpenAI;

  async function ended(id: string): Promise<OpenAI.Responses.Response> {
    let response = await use().client.responses.retrieve(id);
    while (response.status === "queued" || response.status === "in_progress") {
      response = await use().client.responses.retrieve(id);
    }
    return response;
  }

  describe("stored responses of client.responses", () => {
    it("retrieve: is what create gave", async () => {
      const created = await use().client.responses.create(request());
      expect(await use().client.responses.retrieve(created.id)).toEqual(created);
    });

    it("store false: nothing is kept", async () => {
      const { id } = await use().client.responses.create({ ...request(), store: false });
      await faultOf(NotFoundError, use().client.responses.retrieve(id));
    });

    it("delete: it is gone", async () => {
      const { id } = await use().client.responses.create(request());
      await use().client.responses.delete(id);
      const fault = await faultOf(NotFoundError, use().client.responses.retrieve(id));
      expect(fault.requestID).toMatch(/\S/);
    });

    it("inputItems.list: what was asked, page by page", async () => {
      const input = ["a", "b", "c"].map((content) => ({ role: "user" as const, content }));
      const { id } = await use().client.responses.create({ ...request(), input });
      const pages = use().client.responses.inputItems.list(id, { limit: 2, order: "asc" });
      const texts = (await collect(pages)).map((item) => (item.type === "message" ? item.content[0] : undefined));
      expect(texts).toEqual(input.map(({ content }) => ({ type: "input_text", text: content })));
    });

    it("previous_response_id: the conversation goes on", async () => {
      const { responses } = use().client;
      const first = await responses.create(request());
      const linked = await responses.create({ ...request(), previous_response_id: first.id, input: "and plus 5?" });
      expect(linked.previous_response_id).toBe(first.id);
      const unlinked = await responses.create({
        ...request(),
        input: [
          { role: "user", content: USER_QUESTION },
          { role: "assistant", content: first.output_text },
          { role: "user", content: "and plus 5?" },
        ],
      });
      expect(linked.output_text).toBe(unlinked.output_text);
      expect(linked.usage?.input_tokens).toBe(unlinked.usage?.input_tokens);
    });

    it("background: is queued, then ends, and says what one in the foreground says", async () => {
      const queued = await use().client.responses.create({ ...request(), background: true });
      expect(queued).toMatchObject({ background: true, output: [], status: expect.stringMatching(/^(queued|in_progress)$/) });
      const done = await ended(queued.id);
      expect(done.status).toBe("completed");
      expect(done.output_text).toBe((await use().client.responses.create(request())).output_text);
    });

    it("starting_after: a stream goes on from any event, live and when it has ended", async () => {
      const { responses } = use().client;
      const all = await collect(await responses.create({ ...request(), background: true, stream: true }));
      const [first] = all;
      if (first?.type !== "response.created") throw new Error(`it begins with ${first?.type}`);
      const { id } = first.response;
      for (const starting_after of [0, 3, all.length - 2]) {
        const rest = await collect(await responses.retrieve(id, { stream: true, starting_after }));
        expect(rest).toEqual(all.slice(starting_after + 1));
      }
      const begun = await responses.create({ ...request(), background: true });
      const live = await collect(await responses.retrieve(begun.id, { stream: true, starting_after: 1 }));
      expect(live[0]?.sequence_number).toBe(2);
      expect(live.at(-1)?.type).toBe("response.completed");
    });

    it("stream(): the helper takes a response up by its id", async () => {
      const { responses } = use().client;
      const begun = await responses.create({ ...request(), background: true });
      const running = responses.stream({ response_id: begun.id, starting_after: 2 });
      const seen: number[] = [];
      running.on("event", (event) => seen.push(event.sequence_number));
      const final = await running.finalResponse();
      expect(seen[0]).toBe(3);
      expect(final.output_text).toBe((await ended(begun.id)).output_text);
    });

    it("cancel: a background response ends as cancelled", async () => {
      const { responses } = use().client;
      const fields = {
        ...request(),
        input: "Sort these numbers: 45, 3, 27, 88, 14, 62",
        reasoning: { effort: "high" as const },
      };
      const { id } = await responses.create({ ...fields, background: true, temperature: 2, max_output_tokens: 3_000 });
      await responses.cancel(id);
      expect((await ended(id)).status).toBe("cancelled");
      expect((await responses.cancel(id)).status).toBe("cancelled");
      const foreground = await responses.create(request());
      await faultOf(OpenAI.BadRequestError, responses.cancel(foreground.id));
    });
  });
}
