import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joined, whole } from "../test/uncut.js";
import { asMessage } from "./as-message.js";
import { CHANNELS, type Message } from "./message.js";
import { HarmonyParser, parseMessages } from "./parser.js";
import { renderConversation } from "./render.js";
import { SPECIAL_TOKENS } from "./special-tokens.js";
import { TokenReader } from "./tokens.js";
import type { ParserInput } from "./transition.js";

const headerWords = [
  ...CHANNELS,
  "assistant",
  "user",
  "finall",
  " to=functions.f",
  " json",
  " ",
  "to=",
  "Hello 🙂 there",
  "{",
  "functions.g",
  "functions.f to=assistant",
  "to=functions.größe",
  "comment",
  "analysisanalysis",
  "json",
  " user",
  "assistantto=python",
];
const text = fc.oneof(fc.constantFrom(...headerWords), fc.string({ unit: "grapheme", maxLength: 8 }));
const input: fc.Arbitrary<ParserInput> = fc.oneof(
  fc.record({ kind: fc.constant("text" as const), text }),
  fc.record({
    kind: fc.constant("special" as const),
    name: fc.constantFrom(...SPECIAL_TOKENS, "<|endoftext|>", "<|reserved_1|>"),
  }),
);
const inputs = fc.array(input, { maxLength: 24 });
const from = fc.constantFrom("completion" as const, "conversation" as const);

function run(given: readonly ParserInput[], start: "completion" | "conversation") {
  const parser = new HarmonyParser({ from: start });
  const events = [...given.flatMap((one) => parser.push(one)), ...parser.end()];
  return { events: joined(events), stopped: parser.stopped };
}

const byCharacter = (given: readonly ParserInput[]): ParserInput[] =>
  given.flatMap((one): ParserInput[] =>
    one.kind === "text" ? [...one.text].map((character) => ({ kind: "text", text: character })) : [one],
  );

describe("HarmonyParser on any sequence of tokens", () => {
  it("brings the same about however text is cut", () => {
    fc.assert(
      fc.property(inputs, from, (given, start) => {
        const expected = run(whole(given), start);
        expect(run(given, start)).toEqual(expected);
        expect(run(byCharacter(given), start)).toEqual(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  it("opens and closes messages in turn, delivers within them only, and ends at the stop", () => {
    fc.assert(
      fc.property(inputs, from, (given, start) => {
        let open = false;
        const { events } = run(given, start);
        for (const event of events) {
          expect(open).toBe(event.type !== "message-start" && event.type !== "stop");
          if (event.type === "message-start") open = true;
          if (event.type === "message-end") open = false;
        }
        expect(open).toBe(false);
        expect(events.slice(0, -1).some((event) => event.type === "stop")).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  it("never delivers a special token, and no text that was not in the input", () => {
    fc.assert(
      fc.property(inputs, from, (given, start) => {
        const read = given.map((one) => (one.kind === "text" ? one.text : "")).join("");
        const parser = new HarmonyParser({ from: start });
        let at = 0;
        for (const event of [...given.flatMap((one) => parser.push(one)), ...parser.end()]) {
          if (!("text" in event)) continue;
          const found = read.indexOf(event.text, at);
          expect(found).toBeGreaterThanOrEqual(at);
          at = found + event.text.length;
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("brings the same about however bytes are cut into tokens, UTF-8 or not", () => {
    const names = [...SPECIAL_TOKENS, "<|endoftext|>"];
    const pieces = fc.array(
      fc.oneof(
        text.map((part) => new TextEncoder().encode(part)),
        fc.uint8Array({ maxLength: 6 }),
        fc.nat(names.length - 1),
      ),
    );
    const eventsOf = (given: readonly (Uint8Array | number)[]) => {
      const reader = new TokenReader({
        specialTokenName: (token) => names.find((_, index) => given[token] === index),
        tokenBytes: (token) => (given[token] instanceof Uint8Array ? given[token] : new Uint8Array()),
      });
      return run([...given.flatMap((_, token) => reader.read(token)), ...reader.end()], "completion");
    };
    fc.assert(
      fc.property(pieces, (given) => {
        const cut = given.flatMap((piece): (Uint8Array | number)[] =>
          typeof piece === "number" ? [piece] : Array.from(piece, (byte) => Uint8Array.of(byte)),
        );
        expect(eventsOf(cut)).toEqual(eventsOf(given));
      }),
      { numRuns: 1_000 },
    );
  });

  it("loses no content: text after <|message|> is delivered to the letter", () => {
    const content = fc.array(fc.string({ unit: "grapheme", minLength: 1 }), { maxLength: 8 });
    fc.assert(
      fc.property(fc.constantFrom(...CHANNELS), content, (channel, pieces) => {
        const given: ParserInput[] = [
          { kind: "special", name: "<|channel|>" },
          { kind: "text", text: channel },
          { kind: "special", name: "<|message|>" },
          ...pieces.map((piece) => ({ kind: "text" as const, text: piece })),
          { kind: "special", name: "<|return|>" },
        ];
        expect(parseMessages(given)).toEqual([{ role: "assistant", channel, content: pieces.join(""), end: "return" }]);
      }),
    );
  });
});

describe("HarmonyParser on what renderConversation wrote", () => {
  const word = fc.stringMatching(/^[a-zß語][a-z0-9_ü語/-]{0,8}$/);
  const content = fc.string({ unit: "grapheme" });
  const tool = word.map((name) => `functions.${name}`);
  const message: fc.Arbitrary<Message> = fc.oneof(
    fc.record({ role: fc.constant("user" as const), name: word, content }),
    fc.record(
      {
        role: fc.constant("tool" as const),
        name: tool,
        recipient: fc.constantFrom("assistant", "user"),
        channel: fc.constantFrom(...CHANNELS),
        content,
      },
      { requiredKeys: ["role", "name", "content"] },
    ),
    fc.record({ role: fc.constant("assistant" as const), channel: fc.constantFrom(...CHANNELS), content }),
    fc.record({
      role: fc.constant("assistant" as const),
      channel: fc.constantFrom("analysis" as const, "commentary" as const),
      recipient: tool,
      contentType: fc.record({ name: word, constrained: fc.boolean() }),
      content,
    }),
  );

  it("gives every message back", () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), (messages) => {
        for (const one of messages) {
          const given = renderConversation([one], { completion: false }).map(
            (segment): ParserInput =>
              "text" in segment ? { kind: "text", text: segment.text } : { kind: "special", name: segment.special },
          );
          const header = one.role === "tool" ? { recipient: "assistant", channel: "commentary" } : {};
          const isCall = one.role === "assistant" && one.recipient !== undefined;
          const parsed = parseMessages(given, { from: "conversation" });
          expect(parsed).toEqual([{ ...header, ...one, end: isCall ? "call" : "end" }]);
          expect(parsed.map(asMessage)).toEqual([{ ...header, ...one }]);
        }
      }),
      { numRuns: 500 },
    );
  });
});
