import { beforeAll, describe, expect, it } from "vitest";
import { openO200kHarmony } from "../test/o200k-harmony.js";
import { readRecorded } from "../test/recorded.js";
import { joined, whole } from "../test/uncut.js";
import type { ContentType } from "./message.js";
import { HarmonyParser, type ParsedMessage, parseMessages } from "./parser.js";
import { type TokenBytes, TokenReader } from "./tokens.js";
import { INITIAL_STATES, type ParserInput, type ParserState, type Step, transition } from "./transition.js";

interface RecordedMessage {
  readonly role: string;
  readonly name: string | null;
  readonly recipient?: string;
  readonly channel?: string;
  readonly content_type?: string;
  readonly content: readonly { readonly text: string }[];
}

interface Case {
  readonly tokens: readonly number[];
  readonly messages: readonly RecordedMessage[];
}

/** What openai-harmony's StreamableParser made of well-formed completions; `fixtures/make_parsed.py` records them. */
const cases = readRecorded<Case>("parsed.jsonl.gz");

let vocabulary: TokenBytes;
beforeAll(() => {
  vocabulary = openO200kHarmony();
}, 600_000);

function inputsOf(tokens: readonly number[], source: TokenBytes): ParserInput[] {
  const reader = new TokenReader(source);
  return [...tokens.flatMap((token) => reader.read(token)), ...reader.end()];
}

/** One token a byte; special tokens as they are. */
function byteByByte(tokens: readonly number[]): ParserInput[] {
  const bytes: TokenBytes = {
    specialTokenName: (token) => (token < 256 ? undefined : vocabulary.specialTokenName(token)),
    tokenBytes: (token) => Uint8Array.of(token),
  };
  const cut = tokens.flatMap((token) =>
    vocabulary.specialTokenName(token) === undefined ? [...vocabulary.tokenBytes(token)] : [token],
  );
  return inputsOf(cut, bytes);
}

function run(inputs: readonly ParserInput[]) {
  const parser = new HarmonyParser();
  const events = [...inputs.flatMap((input) => parser.push(input)), ...parser.end()];
  return { events: joined(events), repairs: parser.repairs };
}

function typeText({ name, constrained }: ContentType): string {
  return constrained ? `<|constrain|>${name}` : name;
}

function asRecorded(message: ParsedMessage) {
  const { role, name, recipient, channel, contentType, content } = message;
  return { role, name, recipient, channel, content_type: contentType && typeText(contentType), content };
}

/** Every state on the way through a text is the same, and so is what came of it, from wherever to wherever the text arrives at once. */
function expectSameHoweverCut(start: ParserState, text: string): void {
  const characters = [...text];
  const steps: Step[] = [{ state: start, events: [], repairs: [] }];
  for (const character of characters) {
    steps.push(transition(steps.at(-1)?.state ?? start, { kind: "text", text: character }));
  }
  for (let from = 0; from < characters.length; from++) {
    for (let to = from + 1; to <= characters.length; to++) {
      const atOnce = transition(steps[from]?.state ?? start, { kind: "text", text: characters.slice(from, to).join("") });
      const oneByOne = steps.slice(from + 1, to + 1);
      const inTurn: Step = {
        state: steps[to]?.state ?? start,
        events: joined(oneByOne.flatMap(({ events }) => events)),
        repairs: oneByOne.flatMap(({ repairs }) => repairs),
      };
      // Text before text: a deep comparison of each of these would take most of the time.
      const same = JSON.stringify({ ...atOnce, events: joined(atOnce.events) }) === JSON.stringify(inTurn);
      if (!same) expect({ ...atOnce, events: joined(atOnce.events) }).toEqual(inTurn);
    }
  }
}

describe("HarmonyParser beside openai-harmony's StreamableParser", () => {
  it("has completions with every kind of thing to compare", () => {
    const messages = cases.flatMap((entry) => entry.messages);
    expect(cases).toHaveLength(400);
    expect(messages.filter(({ recipient }) => recipient !== undefined).length).toBeGreaterThan(200);
    expect(messages.filter(({ content_type }) => content_type?.startsWith("<|constrain|>")).length).toBeGreaterThan(50);
    expect(messages.filter(({ content }) => content.some(({ text }) => text.includes("\u{fffd}"))).length).toBeGreaterThan(10);
  });

  it("gives the messages that it gives, and repairs nothing", { timeout: 600_000 }, () => {
    for (const { tokens, messages } of cases) {
      const inputs = inputsOf(tokens, vocabulary);
      const expected = messages.map((message) => ({
        role: message.role,
        name: message.name ?? undefined,
        recipient: message.recipient,
        channel: message.channel,
        content_type: message.content_type,
        content: message.content.map(({ text }) => text).join(""),
      }));
      expect(parseMessages(inputs).map(asRecorded)).toEqual(expected);
      expect(run(inputs).repairs).toEqual({});
    }
  });

  it("gives the same whether its tokens, its bytes, or all of a text arrive at once", { timeout: 600_000 }, () => {
    for (const { tokens } of cases) {
      const inputs = inputsOf(tokens, vocabulary);
      const expected = run(whole(inputs));
      expect(run(inputs)).toEqual(expected);
      expect(run(byteByByte(tokens))).toEqual(expected);
    }
  });

  it("gives the same for every way to cut the text between special tokens", { timeout: 600_000 }, () => {
    const seen = new Set<string>();
    for (const { tokens } of cases) {
      let state: ParserState = INITIAL_STATES.completion;
      for (const input of whole(inputsOf(tokens, vocabulary))) {
        // What a text that is content becomes depends on its message alone: its beginning is enough.
        const text = input.kind !== "text" ? "" : state.name === "content" ? input.text.slice(0, 8).toWellFormed() : input.text;
        const key = JSON.stringify([state, text]);
        if (text !== "" && !seen.has(key)) expectSameHoweverCut(state, text);
        seen.add(key);
        state = transition(state, input).state;
      }
    }
    expect(seen.size).toBeGreaterThan(100);
  });
});
