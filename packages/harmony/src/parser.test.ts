import { describe, expect, it } from "vitest";
import { HarmonyParser, type ParsedMessage, parseMessages } from "./parser.js";
import type { ParserInput } from "./transition.js";

/** Cuts `<|…|>` out as special tokens. */
function inputsOf(markup: string): ParserInput[] {
  return markup
    .split(/(<\|\w+\|>)/)
    .filter((piece) => piece !== "")
    .map((piece) => (/^<\|\w+\|>$/.test(piece) ? { kind: "special", name: piece } : { kind: "text", text: piece }));
}

function parse(markup: string) {
  const parser = new HarmonyParser();
  const messages = parseMessages(inputsOf(markup));
  const events = [...inputsOf(markup).flatMap((input) => parser.push(input)), ...parser.end()];
  return { messages, events, repairs: parser.repairs };
}

const message = (channel: "analysis" | "commentary" | "final", content: string, more: Partial<ParsedMessage> = {}) => ({
  role: "assistant",
  channel,
  content,
  end: "end",
  ...more,
});

describe("HarmonyParser on well-formed output", () => {
  it("tells thoughts from the answer, and stops at <|return|>", () => {
    const { events, repairs } = parse(
      "<|channel|>analysis<|message|>Simple.<|end|><|start|>assistant<|channel|>final<|message|>2 + 2 = 4.<|return|>",
    );
    const analysis = { role: "assistant", channel: "analysis" };
    const final = { role: "assistant", channel: "final" };
    expect(events).toEqual([
      { type: "message-start", header: analysis },
      { type: "reasoning", text: "Simple." },
      { type: "message-end", header: analysis, end: "end" },
      { type: "message-start", header: final },
      { type: "text", text: "2 + 2 = 4." },
      { type: "message-end", header: final, end: "return" },
      { type: "stop", reason: "return" },
    ]);
    expect(repairs).toEqual({});
  });

  const call = message("commentary", '{"a":1}', { recipient: "functions.f", end: "call" });
  const constrained = { contentType: { name: "json", constrained: true } };
  it.each([
    ["in the channel", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>", constrained],
    ["next to the constraint", "<|channel|>commentary to=functions.f<|constrain|>json<|message|>", constrained],
    ["in the role", " to=functions.f<|channel|>commentary <|constrain|>json<|message|>", constrained],
    [
      "before a bare type",
      "<|channel|>commentary to=functions.f code<|message|>",
      { contentType: { name: "code", constrained: false } },
    ],
    ["with no type", "<|channel|>commentary to=functions.f<|message|>", {}],
  ])("reads a recipient %s", (_where, header, type) => {
    const { messages, events, repairs } = parse(`${header}{"a":1}<|call|>`);
    expect(messages).toEqual([{ ...call, ...type }]);
    expect(events).toContainEqual({ type: "tool-call", recipient: "functions.f", text: '{"a":1}' });
    expect(events.at(-1)).toEqual({ type: "stop", reason: "call" });
    expect(repairs).toEqual({});
  });

  it("delivers a preamble as commentary", () => {
    const { events } = parse("<|channel|>commentary<|message|>**Plan**<|end|>");
    expect(events).toContainEqual({ type: "commentary", text: "**Plan**" });
  });

  it("keeps words that look like markup when the model wrote them as text", () => {
    const parser = new HarmonyParser();
    for (const input of inputsOf("<|channel|>final<|message|>")) parser.push(input);
    expect(parser.push({ kind: "text", text: "<|end|>" })).toEqual([{ type: "text", text: "<|end|>" }]);
  });

  it("reads a whole conversation, tool results and named users included", () => {
    const messages = parseMessages(
      inputsOf("<|start|>user:ada<|message|>Hi<|end|><|start|>functions.f to=assistant<|channel|>commentary<|message|>ok<|end|>"),
      { from: "conversation" },
    );
    expect(messages).toEqual([
      { role: "user", name: "ada", content: "Hi", end: "end" },
      { role: "tool", name: "functions.f", recipient: "assistant", channel: "commentary", content: "ok", end: "end" },
    ]);
  });

  it("says that a message was cut when generation ended within it", () => {
    expect(parse("<|channel|>final<|message|>2 +").messages).toEqual([message("final", "2 +", { end: "cut" })]);
  });

  it("has nothing to say about nothing", () => {
    expect(parse("")).toEqual({ messages: [], events: [], repairs: {} });
    expect(parse("<|return|>").events).toEqual([{ type: "stop", reason: "return" }]);
  });
});

const call = (recipient: string): Partial<ParsedMessage> => ({ recipient, end: "call" });

describe("HarmonyParser on faulty output", () => {
  it.each<[string, string, object[], object]>([
    [
      "no markup at all",
      "Hello there",
      [message("final", "Hello there", { end: "cut" })],
      { "missing-message": 1, "missing-channel": 1 },
    ],
    [
      "a missing <|message|>",
      "<|channel|>analysis We need it.<|end|>",
      [message("analysis", "We need it.")],
      { "missing-message": 1 },
    ],
    [
      "a missing <|message|> and space",
      "<|channel|>finalYes it is.<|end|>",
      [message("final", "Yes it is.")],
      { "missing-message": 1 },
    ],
    [
      "a missing <|message|> before arguments",
      '<|channel|>commentary to=functions.f <|constrain|>json{"a":1}<|call|>',
      [
        message("commentary", '{"a":1}', {
          recipient: "functions.f",
          contentType: { name: "json", constrained: true },
          end: "call",
        }),
      ],
      { "missing-message": 1 },
    ],
    ["a misspelt channel", "<|channel|>finall<|message|>Hi<|end|>", [message("final", "Hi")], { "misspelt-channel": 1 }],
    ["a channel in capitals", "<|channel|>Analysis<|message|>Hm<|end|>", [message("analysis", "Hm")], { "misspelt-channel": 1 }],
    ["an unknown channel", "<|channel|>thoughts<|message|>Hi<|end|>", [message("final", "Hi")], { "unknown-channel": 1 }],
    ["a missing channel", "<|message|>Hi<|end|>", [message("final", "Hi")], { "missing-channel": 1 }],
    [
      "a doubled marker",
      "<|channel|><|channel|>final<|message|><|message|>Hi<|end|><|end|>",
      [message("final", "Hi")],
      { "doubled-part": 3 },
    ],
    ["a doubled role", "assistant<|channel|>final<|message|>Hi<|end|>", [message("final", "Hi")], { "doubled-part": 1 }],
    [
      "a header begun twice",
      "<|start|>assistant<|channel|>final<|message|>Hi<|end|>",
      [message("final", "Hi")],
      { "doubled-part": 1 },
    ],
    ["a channel with no marker", "final<|message|>Hi<|end|>", [message("final", "Hi")], { "bare-header-part": 1 }],
    [
      "a recipient with no to=",
      "<|channel|>commentary functions.f<|message|>{}<|call|>",
      [message("commentary", "{}", { recipient: "functions.f", end: "call" })],
      { "bare-header-part": 1 },
    ],
    [
      "a missing end and start",
      "<|channel|>analysis<|message|>Hm<|channel|>final<|message|>Hi<|return|>",
      [message("analysis", "Hm", { end: "cut" }), message("final", "Hi", { end: "return" })],
      { "missing-end": 1, "missing-start": 1 },
    ],
    [
      "a missing end",
      "<|channel|>analysis<|message|>Hm<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
      [message("analysis", "Hm", { end: "cut" }), message("final", "Hi", { end: "return" })],
      { "missing-end": 1 },
    ],
    [
      "a missing <|start|>",
      "<|channel|>analysis<|message|>Hm<|end|>assistant<|channel|>final<|message|>Hi<|return|>",
      [message("analysis", "Hm"), message("final", "Hi", { end: "return" })],
      { "missing-start": 1 },
    ],
    [
      "a role glued to its channel",
      "<|channel|>analysis<|message|>Hm<|end|><|start|>assistantfinal<|message|>Hi<|return|>",
      [message("analysis", "Hm"), message("final", "Hi", { end: "return" })],
      { "bare-header-part": 1 },
    ],
    [
      "a misspelt role",
      "<|end|><|start|>asistant<|channel|>final<|message|>Hi<|return|>",
      [message("final", "Hi", { end: "return" })],
      { "misspelt-role": 1, "doubled-part": 1 },
    ],
    [
      "an unknown special token",
      "<|channel|>final<|message|>H<|reserved_200013|>i<|end|>",
      [message("final", "Hi")],
      { "stray-token": 1 },
    ],
    [
      "text after the answer",
      "<|channel|>final<|message|>Hi<|end|>\n more",
      [message("final", "Hi"), message("final", "more", { end: "cut" })],
      { "missing-start": 1, "missing-message": 1, "missing-channel": 1 },
    ],
    [
      "tokens after the stop",
      "<|channel|>final<|message|>Hi<|return|>more<|end|>",
      [message("final", "Hi", { end: "return" })],
      { "after-stop": 2 },
    ],
    [
      "a call without arguments or <|message|>",
      "<|channel|>commentary to=functions.now<|call|>",
      [message("commentary", "", { recipient: "functions.now", end: "call" })],
      { "missing-message": 1 },
    ],
    [
      "a channel begun twice",
      "<|channel|>analysis<|channel|>final<|message|>Hi<|end|>",
      [message("final", "Hi")],
      { "doubled-part": 1 },
    ],
    [
      "a channel written twice",
      "<|channel|>analysisanalysis<|message|>Hm<|end|>",
      [message("analysis", "Hm")],
      { "doubled-part": 1 },
    ],
    [
      "an abbreviated channel",
      "<|channel|>comment<|message|>Hi<|end|>",
      [message("commentary", "Hi")],
      { "misspelt-channel": 1 },
    ],
    [
      "a recipient in both places",
      "assistant to=functions.f<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
      [message("commentary", "{}", { ...call("functions.f"), contentType: { name: "json", constrained: true } })],
      { "doubled-part": 2 },
    ],
    [
      "a recipient glued to the role",
      "<|end|><|start|>assistantto=functions.f<|channel|>commentary<|message|>{}<|call|>",
      [message("commentary", "{}", call("functions.f"))],
      { "doubled-part": 1 },
    ],
    [
      "a recipient before the channel's name",
      "<|channel|>to=functions.f commentary<|message|>{}<|call|>",
      [message("commentary", "{}", call("functions.f"))],
      { "bare-header-part": 1 },
    ],
    [
      "a recipient in the place of the role",
      "<|end|><|start|>to=functions.f<|channel|>commentary<|message|>{}<|call|>",
      [message("commentary", "{}", call("functions.f"))],
      { "doubled-part": 1, "missing-role": 1 },
    ],
    [
      "a call on analysis, with a missing constraint",
      "<|channel|>analysis to=functions.größe code<|message|>{}<|call|>",
      [message("analysis", "{}", { ...call("functions.größe"), contentType: { name: "code", constrained: false } })],
      {},
    ],
    [
      "a missing constraint and <|message|>",
      '<|channel|>commentary to=functions.f json {"a":1}<|call|>',
      [message("commentary", '{"a":1}', { ...call("functions.f"), contentType: { name: "json", constrained: false } })],
      { "missing-message": 1 },
    ],
    [
      "a doubled constraint",
      "<|channel|>commentary to=functions.f <|constrain|>json<|constrain|>json<|message|>{}<|call|>",
      [message("commentary", "{}", { ...call("functions.f"), contentType: { name: "json", constrained: true } })],
      { "doubled-part": 1 },
    ],
    [
      "a type and its constraint",
      "<|channel|>commentary to=functions.f json<|constrain|>json<|message|>{}<|call|>",
      [message("commentary", "{}", { ...call("functions.f"), contentType: { name: "json", constrained: true } })],
      { "doubled-part": 1 },
    ],
    [
      "text before the first <|channel|>",
      "Sure.<|channel|>final<|message|>Hi<|return|>",
      [message("final", "Sure.", { end: "cut" }), message("final", "Hi", { end: "return" })],
      { "missing-message": 1, "missing-channel": 1, "missing-end": 1, "missing-start": 1 },
    ],
    [
      "special tokens inside content",
      "<|channel|>final<|message|>H<|constrain|>e<|message|>l<|endofprompt|>lo<|end|>",
      [message("final", "Hello")],
      { "stray-token": 2, "doubled-part": 1 },
    ],
    ["part of a word in a header", "<|channel|>final t<|message|>Hi<|end|>", [message("final", "tHi")], { "stray-text": 1 }],
    [
      "an unknown role",
      "<|end|><|start|>Hello<|channel|>final<|message|>Hi<|end|>",
      [message("final", "Hi", { name: "Hello" })],
      { "doubled-part": 1, "unknown-role": 1 },
    ],
    [
      "no role after <|start|>",
      "<|end|><|start|><|channel|>final<|message|>Hi<|end|>",
      [message("final", "Hi")],
      { "doubled-part": 1, "missing-role": 1 },
    ],
    [
      "a tool's answer without <|start|>",
      "<|channel|>commentary to=functions.f<|message|>{}<|end|>functions.f to=assistant<|channel|>commentary<|message|>ok<|end|>",
      [
        message("commentary", "{}", { recipient: "functions.f" }),
        message("commentary", "ok", { role: "tool", name: "functions.f", recipient: "assistant" }),
      ],
      { "missing-start": 1 },
    ],
    [
      "another author without <|start|>",
      "<|channel|>final<|message|>Hi<|end|>user<|message|>And?<|end|>",
      [message("final", "Hi"), { role: "user", content: "And?", end: "end" }],
      { "missing-start": 1 },
    ],
    [
      "a word that could be an author",
      "<|channel|>final<|message|>Hi<|end|>user friendly<|end|>",
      [message("final", "Hi"), message("final", "user friendly")],
      { "missing-start": 1, "missing-message": 1, "missing-channel": 1 },
    ],
  ])("repairs or delivers %s", (_fault, markup, messages, repairs) => {
    const parsed = parse(markup);
    expect(parsed.messages).toEqual(messages);
    expect(parsed.repairs).toEqual(repairs);
  });

  it("delivers another author's message apart from the answer", () => {
    const { events } = parse("<|channel|>final<|message|>Hi<|end|><|start|>user<|message|>And then?<|end|>");
    expect(events).toContainEqual({ type: "other", text: "And then?" });
  });

  it("begins to deliver unmarked text at the first word that is no header", () => {
    const parser = new HarmonyParser();
    expect(parser.push({ kind: "text", text: "t" })).toEqual([]);
    expect(parser.push({ kind: "text", text: "ime" })).toContainEqual({ type: "text", text: "time" });
    expect(parser.push({ kind: "text", text: " flies" })).toEqual([{ type: "text", text: " flies" }]);
  });

  it("holds no header longer than its bound", () => {
    const parser = new HarmonyParser();
    parser.push({ kind: "special", name: "<|channel|>" });
    const events = parser.push({ kind: "text", text: `final${" ".repeat(10_000)}x` });
    expect(events[0]).toEqual({ type: "message-start", header: { role: "assistant", channel: "final" } });
  });
});
