import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Message } from "./message.js";
import { renderConversation, type Segment } from "./render.js";

interface Case {
  readonly keepAnalysis: boolean;
  readonly completion: boolean;
  readonly messages: readonly Message[];
  readonly rendered: readonly Segment[];
}

/** What openai-harmony made of generated conversations; `make_rendered.py` beside it records them. */
const cases: readonly Case[] = JSON.parse(readFileSync(new URL("../fixtures/rendered.json", import.meta.url), "utf8"));

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
  it("has conversations with every kind of thing to compare", () => {
    const messages = cases.flatMap((entry) => entry.messages);
    const functions = messages.flatMap((message) => (message.role === "developer" ? (message.functions ?? []) : []));
    expect(cases).toHaveLength(150);
    expect(functions.length).toBeGreaterThan(150);
    expect(functions.some(({ parameters }) => parameters === undefined)).toBe(true);
    expect(messages.filter(({ role }) => role === "tool").length).toBeGreaterThan(100);
    expect(cases.filter(({ keepAnalysis }) => !keepAnalysis).length).toBeGreaterThan(20);
  });

  it.each(cases.map((entry, index) => [index, entry] as const))("renders conversation %i as it does", (_index, entry) => {
    const { messages, rendered, ...options } = entry;
    expect(joined(renderConversation(messages, options))).toEqual(rendered);
  });
});
