import { describe, expect, it } from "vitest";
import { whyUnsupported } from "./unsupported-endpoints.js";

describe("why a path is not served", () => {
  it.each([
    ["/v1/embeddings", /embeddings/],
    ["/v1/images/generations", /images/],
    ["/v1/audio/speech", /audio/],
    ["/v1/moderations", /moderations/],
    ["/v1/fine_tuning/jobs/ftjob-1/events", /fine-tuning/],
    ["/v1/rerank", /reranking/],
    ["/rerank", /reranking/],
    ["/v1/responses/compact", /compacted/],
    ["/v1/responses/input_tokens", /tokenize/],
    ["/v1/chat/completions/chatcmpl-1/messages", /cannot be read again/],
    ["/v1/files/f/content", /files/],
  ])("is said for %s", (path, why) => {
    expect(whyUnsupported(path)).toMatch(why);
  });

  it.each(["/", "", "/v1", "/v1/nothing", "/v1/embeddingsx", "/x/v1/embeddings", "/v1/completions/1"])(
    "is not made up for %s, which nobody has",
    (path) => {
      expect(whyUnsupported(path)).toBeUndefined();
    },
  );
});
