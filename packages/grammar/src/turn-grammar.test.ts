import { HarmonyParser, renderMessage, TokenReader } from "@moiety/harmony";
import { describe, expect, it } from "vitest";
import { fate, openTinyEngine, tokenizer, walk } from "../test/tiny-vocabulary.js";
import { type CallShape, isGrammarAddonBuilt, type TurnShape, turnGrammar } from "./index.js";

const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const nothing = { type: "object", properties: {}, additionalProperties: false };
const calls: readonly CallShape[] = [
  { name: "get_weather", parameters: city },
  { name: "get", parameters: nothing },
];
const json = { kind: "json", schema: city } as const;
const SHAPES = {
  answer: { answer: json, calls: [], severalCalls: false, preambles: false },
  answerOrCall: { answer: json, calls, severalCalls: false, preambles: false },
  textOrCall: { answer: { kind: "text" }, calls, severalCalls: false, preambles: true },
  text: { answer: { kind: "text" }, calls: [], severalCalls: true, preambles: true },
  call: { calls, severalCalls: false, preambles: true },
  calls: { calls, severalCalls: true, preambles: true },
  oneCall: { calls: calls.slice(1), severalCalls: false, preambles: true },
  word: { answer: { kind: "choice", words: ["yes", "no"] }, calls: [], severalCalls: false, preambles: false },
} as const satisfies Record<string, TurnShape>;

const THOUGHT = "<|channel|>analysis<|message|>Hm, {x} é\n<|end|><|start|>assistant";
const PREAMBLE = "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant";
const ANSWER = '<|channel|>final<|message|>{"city": "x"}<|return|>';
const CALL = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city":"x"}<|call|>';
const ONE_MORE = CALL.replace("<|call|>", "<|end|><|start|>assistant");
const EARLY = " to=functions.get<|channel|>commentary json<|message|>{}<|call|>";

describe.skipIf(!isGrammarAddonBuilt())("the grammar of a turn", () => {
  const engine = openTinyEngine();
  const outcome = (shape: TurnShape, text: string) => fate(engine, turnGrammar(shape), text);

  it.each([
    ["answer", ANSWER],
    ["answer", THOUGHT + ANSWER],
    ["answer", `<|channel|>analysis<|message|><|end|><|start|>assistant${ANSWER}`],
    ["answer", `${THOUGHT}<|channel|>final <|constrain|>json<|message|>{"city":"x"}<|return|>`],
    ["answerOrCall", THOUGHT + CALL],
    ["answerOrCall", THOUGHT + ANSWER],
    ["textOrCall", "<|channel|>final<|message|>Anything <at> all<|return|>"],
    ["textOrCall", PREAMBLE + EARLY],
    ["call", THOUGHT + PREAMBLE + CALL],
    ["call", THOUGHT + EARLY],
    ["call", THOUGHT.repeat(16) + CALL],
    ["text", `${THOUGHT}${PREAMBLE}<|channel|>final<|message|>Anything {at} all<|return|>`],
    ["calls", THOUGHT + CALL],
    ["calls", THOUGHT + ONE_MORE + EARLY],
    ["calls", ONE_MORE.repeat(31) + CALL],
    ["word", "<|channel|>final<|message|>no<|return|>"],
  ] as const)("%s lets through %s", async (shape, text) => {
    expect(await outcome(SHAPES[shape], text)).toBe("complete");
  });

  it.each([
    ["answer", PREAMBLE, "<|channel|>"],
    ["answer", CALL, "<|channel|>"],
    ["answer", '<|channel|>final<|message|>{"city":1}', '{"city":'],
    ["answer", '<|channel|>final<|message|>{"city":"x"}<|call|>', "}"],
    ["answer", '<|channel|>final<|message|>{"city":"x"}{', "}"],
    ["answer", "<|channel|>final<|return|>", "final"],
    ["call", THOUGHT + ANSWER, "<|channel|>"],
    ["call", "<|channel|>analysis<|message|>Hm<|return|>", "Hm"],
    ["call", "<|channel|>analysis<|message|>Hm<|channel|>", "Hm"],
    ["call", THOUGHT.repeat(17), "<|channel|>"],
    ["call", ONE_MORE, "}"],
    ["calls", ONE_MORE + ANSWER, "<|channel|>"],
    ["calls", ONE_MORE.repeat(32), "}"],
    ["text", CALL, "commentary"],
    ["text", EARLY, ""],
    ["text", "<|channel|>analysis to=functions.get<|message|>{}", "analysis"],
    ["textOrCall", "<|channel|>commentary to=functions.other <|constrain|>json<|message|>{}<|call|>", "functions."],
    ["textOrCall", " to=browser.search<|channel|>commentary json<|message|>{}<|call|>", " to="],
    ["oneCall", CALL, "functions.get"],
    ["word", "<|channel|>final<|message|>nope", "n"],
  ] as const)("%s stops %s", async (shape, text, before) => {
    const found = await outcome(SHAPES[shape], text);
    expect(found).toMatch(/^refused after /);
    expect(found).toContain(before);
  });

  it("has the parameters of functions that are alike once, and each call still by its own name", async () => {
    const alike = { calls: ["a", "b", "c"].map((name) => ({ name, parameters: city })), severalCalls: false, preambles: false };
    const grammar = turnGrammar(alike);
    expect(JSON.parse(grammar).grammars).toHaveLength(2);
    const call = (name: string) => CALL.replace("get_weather", name);
    expect(await fate(engine, grammar, call("b"))).toBe("complete");
    expect(await fate(engine, grammar, call("d"))).toMatch(/^refused/);
    const other = turnGrammar({ ...alike, calls: [...alike.calls, { name: "d", parameters: nothing }] });
    expect(await fate(engine, other, call("d"))).toMatch(/^refused/);
    expect(await fate(engine, other, call("c"))).toBe("complete");
  });

  it("lets through calls as they are rendered", async () => {
    const contentType = { name: "json", constrained: true };
    const message = { role: "assistant", channel: "commentary", recipient: "functions.get", contentType, content: "{}" } as const;
    const text = renderMessage(message).map((segment) => ("text" in segment ? segment.text : segment.special));
    expect(await outcome(SHAPES.call, text.join("").replace("<|start|>assistant", ""))).toBe("complete");
  });

  it("allows no padding, and no special token where text is", async () => {
    const state = await engine.compile(turnGrammar(SHAPES.call));
    const step = await state.advance(
      Int32Array.from(await tokenizer.encode("<|channel|>analysis<|message|>Hm", { allowSpecial: true })),
    );
    const allowed =
      step.kind === "mask"
        ? [...tokenizer.specialTokens].filter(([, id]) => (step.allowed[id >> 5] ?? 0) & (1 << (id & 31)))
        : [];
    expect(allowed.map(([name]) => name)).toEqual(["<|end|>"]);
  });

  it.each(Object.keys(SHAPES) as (keyof typeof SHAPES)[])("%s: whatever it lets through is read without repair", async (name) => {
    const nameById = new Map([...tokenizer.specialTokens].map(([text, id]) => [id, text]));
    let completed = 0;
    for (let seed = 0; seed < 6; seed++) {
      const state = await engine.compile(turnGrammar(SHAPES[name]));
      const { tokens, complete } = await walk(state, { seed, maxTokens: 400 });
      const reader = new TokenReader({
        specialTokenName: (id) => nameById.get(id),
        tokenBytes: (id) => tokenizer.tokenBytes(id),
      });
      const parser = new HarmonyParser();
      const events = tokens.flatMap((token) => reader.read(token).flatMap((input) => parser.push(input)));
      expect(parser.repairs).toEqual({});
      if (!complete) continue;
      completed += 1;
      expect(events.at(-1)?.type).toBe("stop");
      const delivered = (type: string) =>
        events.map((event) => (event.type === type && "text" in event ? event.text : event.type === "message-end" ? "\0" : ""));
      const texts = [...delivered("tool-call"), ...(name.startsWith("answer") ? delivered("text") : [])]
        .join("")
        .split("\0")
        .filter((text) => text !== "");
      for (const text of texts) expect(JSON.parse(text)).toBeTypeOf("object");
    }
    expect(completed).toBeGreaterThan(0);
  });
});
