import { AppError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeToken, decodeTokens, encodeToken, packTokens, unpackTokens } from "./token-codec.js";
import type { LoggedToken } from "./types.js";

const tokenId = fc.integer({ min: 0, max: 0x7fffffff });
const logprob = fc.record({ token: tokenId, logprob: fc.double() });
const entry: fc.Arbitrary<LoggedToken> = fc.record(
  { token: tokenId, logprob: fc.double(), top: fc.array(logprob, { maxLength: 20 }) },
  { requiredKeys: ["token"] },
);

function onlyAppErrors(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "DATA_LOSS") throw error;
  }
}

describe("a log entry", () => {
  it("is read as it was written, to the last bit", () => {
    fc.assert(
      fc.property(entry, (one) => {
        expect(decodeToken(encodeToken(one))).toEqual(one);
      }),
    );
  });

  it("delimits itself, so that entries can be concatenated", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (all) => {
        expect(decodeTokens(Buffer.concat(all.map(encodeToken)))).toEqual(all);
      }),
    );
  });

  it("is refused when it is cut short or followed by anything", () => {
    fc.assert(
      fc.property(entry, fc.nat(), (one, cut) => {
        const bytes = encodeToken(one);
        expect(() => decodeToken(bytes.subarray(0, cut % bytes.length))).toThrow(AppError);
        expect(() => decodeToken(Buffer.concat([bytes, Buffer.from([0])]))).toThrow(AppError);
      }),
    );
  });

  it("made of arbitrary bytes is read or refused, and never anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        onlyAppErrors(() => decodeTokens(Buffer.from(bytes)));
        onlyAppErrors(() => unpackTokens(Buffer.from(bytes)));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a prompt", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(fc.array(tokenId), (tokens) => {
        expect([...unpackTokens(packTokens(Int32Array.from(tokens)))]).toEqual(tokens);
      }),
    );
  });
});
