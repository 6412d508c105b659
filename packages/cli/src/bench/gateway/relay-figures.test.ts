import { describe, expect, it } from "vitest";
import { relayFigures } from "./relay-figures.js";
import type { SourceReport } from "./source-messages.js";
import { promptOfStream, streamOfPrompt } from "./stream-prompt.js";

const client = (stream: number, sentMs: number, receivedMs: number[]) => ({
  stream,
  sentMs,
  receivedMs,
  chunks: receivedMs.length,
});
const report = (...streams: SourceReport["streams"]): SourceReport => ({ streams, faults: [] });

describe("relay figures", () => {
  it("leave out of the first token's time what the source took of it", () => {
    const source = report({ stream: 0, claimedMs: 103, appendedMs: [150, 160] });
    const { addedToFirstToken, requestToClaim, appendToClient } = relayFigures([client(0, 100, [152, 163])], source, 2);
    expect(addedToFirstToken.median).toBe(52 - 47);
    expect(requestToClaim.median).toBe(3);
    expect(appendToClient.p99).toBe(3);
  });

  it("compare gaps token by token", () => {
    const source = report({ stream: 0, claimedMs: 0, appendedMs: [10, 20, 30] });
    const figures = relayFigures([client(0, 0, [11, 21, 35])], source, 3);
    expect(figures.clientGap.p99).toBe(14);
    expect(figures.sourceGap.p99).toBe(10);
    expect(figures.addedToGap.p99).toBe(4);
  });

  it("take rates from the first append to the last token of all streams", () => {
    const source = report(
      { stream: 0, claimedMs: 0, appendedMs: [1_000, 2_000] },
      { stream: 1, claimedMs: 0, appendedMs: [1_500, 2_500] },
    );
    const { tokensPerSecond, sourceTokensPerSecond } = relayFigures(
      [client(0, 0, [1_001, 2_001]), client(1, 0, [1_501, 3_000])],
      source,
      2,
    );
    expect(tokensPerSecond).toBe(2);
    expect(sourceTokensPerSecond).toBeCloseTo(4 / 1.5);
  });

  it("say how many tokens a chunk had", () => {
    const source = report({ stream: 0, claimedMs: 0, appendedMs: [1, 2, 3] });
    expect(relayFigures([{ ...client(0, 0, [2, 4, 4]), chunks: 2 }], source, 3).tokensPerChunk).toBe(1.5);
  });

  it("count a stream that failed, or has not all of its tokens, as an error, and use none of its times", () => {
    const source = report(
      { stream: 0, claimedMs: 0, appendedMs: [1, 2] },
      { stream: 1, claimedMs: 0, appendedMs: [1, 2] },
      { stream: 2, claimedMs: 0, appendedMs: [1, 2] },
    );
    const clients = [
      client(0, 0, [2, 3]),
      client(1, 0, [2]),
      { ...client(2, 0, [900, 901]), fault: "status 500" },
      client(3, 0, []),
    ];
    const { errors, faults, appendToClient } = relayFigures(clients, source, 2);
    expect(errors).toBe(3);
    expect(faults).toEqual(["1 of 2 tokens", "status 500", "0 of 2 tokens"]);
    expect(appendToClient.p99).toBe(1);
  });

  it("know every stream by its prompt", () => {
    for (let stream = 0; stream < 5_000; stream++) expect(streamOfPrompt(promptOfStream(stream))).toBe(stream);
  });
});
