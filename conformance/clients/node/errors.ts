import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { collect, faultOf, only, USER_QUESTION, type Use } from "./use.js";

const REQUEST_ID = /^[A-Za-z0-9._:-]+$/;

export function errorAndHeaderFeatures(use: () => Use): void {
  const request = () => ({ model: use().model, messages: [{ role: "user" as const, content: USER_QUESTION }] });
  const short = () => ({ ...request(), max_completion_tokens: 4 });

  describe("client.models", () => {
    it("list and retrieve: the model that is served", async () => {
      const model = only(await collect(use().client.models.list()));
      expect(model).toMatchObject({ id: use().model, object: "model", owned_by: expect.any(String) });
      expect(await use().client.models.retrieve(use().model)).toMatchObject({ id: use().model });
    });

    it("retrieve: another is a NotFoundError", async () => {
      expect((await faultOf(OpenAI.NotFoundError, use().client.models.retrieve("other"))).code).toBe("model_not_found");
    });
  });

  describe("errors", () => {
    it("a wrong field is a BadRequestError that names it, of streams too", async () => {
      for (const stream of [false, true]) {
        const asked = use().client.chat.completions.create({ ...request(), temperature: 3, stream });
        const fault = await faultOf(OpenAI.BadRequestError, asked);
        expect(fault).toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error" });
        expect(fault.requestID).toMatch(REQUEST_ID);
        expect(fault.headers.get("x-request-id")).toBe(fault.requestID);
      }
    });

    it("another model is a NotFoundError", async () => {
      const { client } = use();
      for (const asked of [
        client.chat.completions.create({ ...request(), model: "other" }),
        client.completions.create({ model: "other", prompt: "a" }),
        client.responses.create({ model: "other", input: "a" }),
      ]) {
        expect(await faultOf(OpenAI.NotFoundError, asked)).toMatchObject({ code: "model_not_found", param: "model" });
      }
    });

    it("a context that is too long is a BadRequestError with OpenAI's code", async () => {
      const asked = use().client.chat.completions.create({ ...request(), max_completion_tokens: 10_000_000 });
      expect((await faultOf(OpenAI.BadRequestError, asked)).code).toBe("context_length_exceeded");
    });

    it("a wrong key is an AuthenticationError", async () => {
      const stranger = use().client.withOptions({ apiKey: "another" });
      expect((await faultOf(OpenAI.AuthenticationError, stranger.models.list())).code).toBe("invalid_api_key");
    });

    it("endpoints that are not there are errors that say why", async () => {
      const { client } = use();
      const embeddings = await faultOf(OpenAI.BadRequestError, client.embeddings.create({ model: "x", input: "a" }));
      expect(embeddings).toMatchObject({ code: "unsupported_endpoint", message: expect.stringContaining("embeddings") });
      await faultOf(OpenAI.BadRequestError, client.moderations.create({ input: "a" }));
      await faultOf(OpenAI.BadRequestError, client.images.generate({ prompt: "a" }));
    });

    it("a time limit of the client's is an APIConnectionTimeoutError, and a dead port an APIConnectionError", async () => {
      const asked = use().client.chat.completions.create(request(), { timeout: 1, maxRetries: 0 });
      await faultOf(OpenAI.APIConnectionTimeoutError, asked);
      const nowhere = use().client.withOptions({ baseURL: "http://127.0.0.1:9/v1", maxRetries: 0 });
      await faultOf(OpenAI.APIConnectionError, nowhere.models.list());
    });
  });

  describe("headers", () => {
    it("_request_id: of everything that comes in one piece", async () => {
      const { client, model } = use();
      const answers = [
        await client.chat.completions.create(short()),
        await client.completions.create({ model, prompt: "a", max_tokens: 2 }),
        await client.responses.create({ model, input: "a", max_output_tokens: 16 }),
        await client.models.retrieve(model),
      ];
      const ids = answers.map(({ _request_id }) => _request_id);
      for (const id of ids) expect(id).toMatch(REQUEST_ID);
      expect(new Set(ids).size).toBe(ids.length);
    });

    it("withResponse(): headers and request id, of streams too", async () => {
      const { client } = use();
      const whole = await client.chat.completions.create(short()).withResponse();
      expect(whole.data).toMatchObject({ _request_id: whole.request_id });
      expect(whole.response.headers.get("content-type")).toMatch(/^application\/json/);
      expect(Number(whole.response.headers.get("openai-processing-ms"))).toBeGreaterThanOrEqual(0);
      const streamed = await client.chat.completions.create({ ...short(), stream: true }).withResponse();
      expect(streamed.request_id).toMatch(REQUEST_ID);
      expect(streamed.response.headers.get("content-type")).toMatch(/^text\/event-stream/);
      expect((await collect(streamed.data)).length).toBeGreaterThan(0);
    });

    it("x-ratelimit-*: how many requests may be under way", async () => {
      const { response } = await use().client.chat.completions.create(short()).withResponse();
      const [limit, remaining] = ["limit", "remaining"].map((what) =>
        Number(response.headers.get(`x-ratelimit-${what}-requests`)),
      );
      expect(limit).toBeGreaterThan(0);
      expect(remaining).toBeLessThanOrEqual(limit ?? 0);
    });

    it("post(): /tokenize and /detokenize, which the client does not know", async () => {
      const { client } = use();
      const host = client.withOptions({ baseURL: client.baseURL.replace(/\/v1$/, "") });
      const body = { prompt: "Größe 🙂" };
      const { tokens, count } = await host.post<{ tokens: number[]; count: number }>("/tokenize", { body });
      expect(tokens).toHaveLength(count);
      expect(await host.post("/detokenize", { body: { tokens } })).toEqual(body);
    });

    it("asResponse(): the raw answer", async () => {
      const response = await use().client.chat.completions.create(short()).asResponse();
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ object: "chat.completion" });
    });

    it("x-request-id: a client's own is taken over", async () => {
      const headers = { "x-request-id": "conformance-1" };
      const { request_id } = await use().client.chat.completions.create(short(), { headers }).withResponse();
      expect(request_id).toBe("conformance-1");
    });
  });
}
