import { AppError } from "@moiety/core";
import { newBatchId } from "@moiety/queue";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BATCH_ENDPOINTS, type BatchEndpoint } from "./batch-endpoints.js";
import { requestIdOf } from "./line-request.js";
import { completedLine, failedLine, unfinishedLine } from "./line-result.js";

const batch = newBatchId();
const line = { line: 3, customId: 'a "b"\n🙂' };

describe("the result of a line", () => {
  it("is one line of JSON that names the request, whatever is in it", () => {
    const customIds = fc.string({ unit: fc.constantFrom("a", "\n", '"', "🙂", "\ud800", "\u2028") });
    fc.assert(
      fc.property(customIds, fc.jsonValue(), (customId, value) => {
        const { text } = completedLine(batch, { line: 1, customId }, { requestId: "r", body: { value } });
        expect(text.includes("\n")).toBe(false);
        const { custom_id, response, error } = JSON.parse(text);
        expect([custom_id, response.status_code, error]).toEqual([customId, 200, null]);
      }),
    );
  });

  it("counts its tokens, in either of the spellings", () => {
    const chat = {
      prompt_tokens: 5,
      completion_tokens: 7,
      prompt_tokens_details: { cached_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 3 },
    };
    const response = {
      input_tokens: 5,
      output_tokens: 7,
      input_tokens_details: { cached_tokens: 2 },
      output_tokens_details: { reasoning_tokens: 3 },
    };
    for (const usage of [chat, response]) {
      expect(completedLine(batch, line, { requestId: "r", body: { usage } })).toMatchObject({
        outcome: "completed",
        tokens: { input: 5, cached: 2, output: 7, reasoning: 3 },
      });
    }
    expect(completedLine(batch, line, { requestId: "r", body: {} }).tokens).toEqual({
      input: 0,
      cached: 0,
      output: 0,
      reasoning: 0,
    });
  });

  it("is the error of a live request where there is one, and hides what a live request would not be told", () => {
    const failed = (error: AppError) => JSON.parse(failedLine(batch, line, { requestId: "r", error }).text);
    expect(failed(new AppError("INVALID_ARGUMENT", "n: no", { details: { param: "n" } }))).toMatchObject({
      custom_id: line.customId,
      response: { status_code: 400, body: { error: { message: "n: no", param: "n", type: "invalid_request_error" } } },
      error: null,
    });
    expect(JSON.stringify(failed(new AppError("INTERNAL", "secret")))).not.toContain("secret");
    expect(JSON.parse(unfinishedLine(batch, line, "cancelled"))).toMatchObject({
      response: null,
      error: { code: "batch_cancelled" },
    });
  });

  it("has a request of its own for every line and attempt, the same each time", () => {
    const endpoint = BATCH_ENDPOINTS.get("/v1/chat/completions") as BatchEndpoint;
    const ids = [1, 2, 11, 12].flatMap((number) =>
      [0, 1, 10].map((attempt) => requestIdOf({ id: batch, endpoint }, number, attempt)),
    );
    expect(new Set(ids).size).toBe(12);
    expect(requestIdOf({ id: batch, endpoint }, 11, 1)).toBe(ids[7]);
    expect(ids[0]).toMatch(/^chatcmpl-[0-9a-f]{24}$/);
  });
});
