import { beforeAll, describe, expect, it } from "vitest";
import { openO200kHarmony } from "../test/o200k-harmony.js";
import { sha256Of } from "../test/recorded.js";
import { readConversations, renderRecorded } from "../test/recorded-conversations.js";
import type { Segment } from "./render.js";
import { encodeSegments, type SegmentTokenizer } from "./tokens.js";

const cases = readConversations();

/** Which texts were tokenised apart is not recorded. */
function joined(segments: readonly Segment[]): Segment[] {
  const pieces: Segment[] = [];
  for (const segment of segments) {
    const last = pieces.at(-1);
    if (last && "text" in last && "text" in segment) pieces[pieces.length - 1] = { text: last.text + segment.text };
    else pieces.push(segment);
  }
  return pieces;
}

describe("renderConversation beside openai-harmony", () => {
  let vocabulary: SegmentTokenizer;
  beforeAll(() => {
    vocabulary = openO200kHarmony();
  }, 600_000);

  it("has conversations with every kind of thing to compare", () => {
    const messages = cases.flatMap((entry) => entry.messages);
    const functions = messages.flatMap((message) => (message.role === "developer" ? (message.functions ?? []) : []));
    const schemas = JSON.stringify(functions);
    expect(cases).toHaveLength(1_200);
    expect(functions.length).toBeGreaterThan(1_200);
    expect(functions.some(({ parameters }) => parameters === undefined)).toBe(true);
    for (const part of ["oneOf", "anyOf", "allOf", "$ref", "enum", "nullable", "default", "examples", "null"]) {
      expect(schemas.split(`"${part}"`).length).toBeGreaterThan(80);
    }
    expect(messages.filter(({ role }) => role === "tool").length).toBeGreaterThan(1_000);
    expect(cases.filter(({ keepAnalysis }) => !keepAnalysis).length).toBeGreaterThan(800);
    expect(messages.filter((message) => "tools" in message).length).toBeGreaterThan(200);
    const finals = cases.map((entry) => entry.messages.filter((message) => "channel" in message && message.channel === "final"));
    expect(finals.filter(({ length }) => length > 1).length).toBeGreaterThan(300);
  });

  it("renders the text that it does", { timeout: 600_000 }, () => {
    const withText = cases.filter((entry) => entry.rendered !== undefined);
    expect(withText).toHaveLength(150);
    for (const entry of withText) expect(joined(renderRecorded(entry))).toEqual(entry.rendered);
  });

  it("renders the tokens that it does, with the vocabulary of gpt-oss", { timeout: 600_000 }, () => {
    const differing = cases.flatMap((entry, index) => {
      const tokens = encodeSegments(renderRecorded(entry), vocabulary);
      return tokens.length === entry.tokens.count && sha256Of(tokens) === entry.tokens.sha256 ? [] : [index];
    });
    expect(differing).toEqual([]);
  });
});
