import { parseRequestId, parseTenantId } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { checkRecord, decodeRecord, encodeRecord, RECORD_FIELDS } from "./record-codec.js";
import type { GenerationParams, RequestRecord } from "./types.js";

const params: GenerationParams = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: "18446744073709551615",
  maxTokens: 16,
  minTokens: 0,
  stopTokenIds: [2],
  logitBias: [],
};

function record(more: Partial<GenerationParams>): RequestRecord {
  return {
    id: parseRequestId("r-1"),
    tenant: parseTenantId("tenant"),
    cacheSalt: "salt",
    priority: 1,
    createdAtMs: 5,
    deadlineAtMs: 10,
    promptTokens: Int32Array.of(1, 2, 3),
    params: { ...params, ...more },
  };
}

function stored(given: RequestRecord): RequestRecord {
  const entries = encodeRecord(given);
  const values = RECORD_FIELDS.map((field) => {
    const at = entries.indexOf(field);
    const value = at < 0 ? undefined : entries[at + 1];
    return value === undefined ? null : Buffer.from(value);
  });
  return decodeRecord(given.id, values);
}

describe("a stored request", () => {
  it.each([
    ["plain", {}],
    ["with a grammar", { grammar: '{"grammars":[{"lark_grammar":"start: \\"é\\""}]}', grammarEngine: "engine/1" }],
  ])("is read as it was written, %s", (_name, more) => {
    const given = record(more);
    expect(() => checkRecord(given)).not.toThrow();
    expect(stored(given)).toEqual(given);
  });

  it("keeps the span that it belongs to", () => {
    const given = { ...record({}), traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
    expect(stored(given)).toEqual(given);
  });

  it.each([
    ["grammar", { grammar: "x".repeat(1_048_577) }],
    ["grammar", { grammar: "" }],
  ])("is refused for a %s without measure", (field, more) => {
    expect(() => checkRecord(record(more))).toThrowError(expect.objectContaining({ details: { fields: [`params.${field}`] } }));
  });
});
