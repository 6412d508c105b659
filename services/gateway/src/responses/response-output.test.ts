import fc from "fast-check";
import type OpenAI from "openai";
import { describe, expect, expectTypeOf, it } from "vitest";
import type { ChoiceDelta } from "../generation/choice-assembler.js";
import { TokenNames } from "../openai/logprobs.js";
import { seal, unseal } from "./reasoning-seal.js";
import { asResponseId, itemId, newResponseId, responseOfItem } from "./response-ids.js";
import type { EventBody, FunctionCallItem, MessageItem, OutputItem, ReasoningItem, ResponseUsage } from "./response-object.js";
import { ResponseOutput } from "./response-output.js";

/** Arrays and fields that may be written, as the client declares them. */
type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? Mutable<E>[] : T[K] };

const nothing: ChoiceDelta = { content: "", reasoning: "", calls: [], tokens: [], tokenIds: [] };
const responseId = "resp_00112233445566778899aabbccddeeff";
const output = () => new ResponseOutput({ responseId, names: new TokenNames(undefined), sealed: false });

function play(deltas: readonly ChoiceDelta[], status: "completed" | "incomplete" = "completed") {
  const made = output();
  const events = structuredClone([...deltas.flatMap((delta) => [...made.push(delta)]), ...made.end(status)]);
  return { events, items: made.items };
}

/** What a client puts together from the deltas. */
function assembled(events: readonly EventBody[]): string[] {
  const texts: string[] = [];
  for (const event of events) {
    const index = event["output_index"] as number;
    if (event.type === "response.output_item.added") texts[index] = "";
    if (event.type.endsWith(".delta")) texts[index] += event["delta"] as string;
  }
  return texts;
}

const textOf = (item: OutputItem) => (item.type === "function_call" ? item.arguments : (item.content[0]?.text ?? ""));

const deltas = fc.array(
  fc.oneof(
    fc.string().map((content) => ({ ...nothing, content })),
    fc.string().map((reasoning) => ({ ...nothing, reasoning })),
    fc.tuple(fc.constantFrom("f", undefined), fc.string()).map(([name, text]) => ({ name, text })),
  ),
  { maxLength: 30 },
);

/** Numbers calls as the assembler does, and lets none go on before it began. */
function sensible(steps: readonly (ChoiceDelta | { name: string | undefined; text: string })[]): ChoiceDelta[] {
  let calls = 0;
  let open = false;
  return steps.flatMap((step) => {
    if (!("text" in step)) {
      open = open && step.content === "" && step.reasoning === "";
      return [step];
    }
    if (step.name === undefined && !open) return [];
    if (step.name !== undefined) calls += 1;
    open = true;
    const call = { index: calls - 1, arguments: step.text, ...(step.name === undefined ? {} : { name: step.name }) };
    return [{ ...nothing, calls: [call] }];
  });
}

describe("the output of a response", () => {
  it("is thoughts, text and calls, each an item that is opened, filled and closed", () => {
    const { events, items } = play([
      { ...nothing, reasoning: "Hm" },
      { ...nothing, reasoning: "m." },
      { ...nothing, content: "I look." },
      { ...nothing, calls: [{ index: 0, name: "f", arguments: "" }] },
      { ...nothing, calls: [{ index: 0, arguments: "{}" }] },
    ]);
    expect(events.map(({ type }) => type.replace("response.", ""))).toEqual([
      ...["output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta", "reasoning_text.done"],
      ...["content_part.done", "output_item.done"],
      ...["output_item.added", "content_part.added", "output_text.delta", "output_text.done"],
      ...["content_part.done", "output_item.done"],
      ...["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"],
    ]);
    expect(items.map((item) => [item.type, textOf(item), item.status])).toEqual([
      ["reasoning", "Hmm.", "completed"],
      ["message", "I look.", "completed"],
      ["function_call", "{}", "completed"],
    ]);
    expect(items.map(({ id }) => responseOfItem(id))).toEqual([responseId, responseId, responseId]);
  });

  it("is, put together from its deltas, what its items say, however it goes", () => {
    fc.assert(
      fc.property(deltas, fc.constantFrom("completed" as const, "incomplete" as const), (steps, status) => {
        const { events, items } = play(sensible(steps), status);
        expect(assembled(events)).toEqual(items.map(textOf));
        const done = events.filter(({ type }) => type === "response.output_item.done").map((event) => event["item"]);
        expect(done).toEqual(items);
        expect(new Set(items.map(({ id }) => id)).size).toBe(items.length);
        for (const item of items.slice(0, -1)) expect(item.status).toBe("completed");
        if (items.length > 0) expect(items.at(-1)?.status).toBe(status);
      }),
    );
  });

  it("carries every log-probability once, with the text that it belongs to", () => {
    const made = new ResponseOutput({ responseId, names: new TokenNames(undefined), sealed: false, topLogprobs: 1 });
    const token = (id: number) => ({ token: { token: id, logprob: -id, top: [{ token: id, logprob: -id }] }, offset: 0 });
    const events = [
      ...made.push({ ...nothing, tokens: [token(1)] }),
      ...made.push({ ...nothing, content: "a", tokens: [token(2)] }),
      ...made.push({ ...nothing, tokens: [token(3)] }),
      ...made.end("completed"),
    ];
    const carried = events
      .filter(({ type }) => type === "response.output_text.delta")
      .flatMap((event) => event["logprobs"] as { logprob: number }[]);
    expect(carried.map(({ logprob }) => logprob)).toEqual([-1, -2, -3]);
    expect(made.items[0]).toMatchObject({ content: [{ logprobs: carried }] });
  });
});

describe("items", () => {
  it("are what the official client expects, as far as types tell", () => {
    expectTypeOf<MessageItem["status"]>().toExtend<OpenAI.Responses.ResponseOutputMessage["status"]>();
    expectTypeOf<Mutable<FunctionCallItem>>().toExtend<OpenAI.Responses.ResponseFunctionToolCall>();
    expectTypeOf<Mutable<ReasoningItem>>().toExtend<OpenAI.Responses.ResponseReasoningItem>();
    expectTypeOf<keyof ResponseUsage>().toExtend<keyof OpenAI.Responses.ResponseUsage>();
  });
});

describe("ids", () => {
  it("lead from an item to its response", () => {
    const id = newResponseId();
    expect(asResponseId(id)).toBe(id);
    for (const type of ["message", "reasoning", "function_call", "function_call_output"] as const) {
      const places = [0, 77].flatMap((index) => (["input", "output"] as const).map((of) => itemId(id, type, { of, index })));
      expect(new Set(places).size).toBe(4);
      for (const item of places) expect(responseOfItem(item)).toBe(id);
    }
    for (const strange of ["", "resp_", "resp_zz", "msg_1", `${id}0`, "../x"]) {
      expect([asResponseId(strange), responseOfItem(strange)]).toEqual([undefined, undefined]);
    }
  });
});

describe("sealed thoughts", () => {
  it("come back as they were, and others' are told apart", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (thoughts) => {
        expect(unseal(seal(thoughts))).toBe(thoughts);
      }),
    );
    for (const strange of ["", "gAAAAAB", "moiety1.*"]) expect(unseal(strange)).toBeUndefined();
  });
});
