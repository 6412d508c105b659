import { AppError, systemClock } from "@moiety/core";
import type { GrammarEngine } from "@moiety/grammar";
import { describe, expect, it } from "vitest";
import { checkGrammar, type GrammarChecker } from "./check-grammar.js";

/** Refuses what names `bad`, and at the first mask what names `late`. */
function checker(more: Partial<GrammarChecker> = {}) {
  const compiled: string[] = [];
  const seen = { checks: 0, refusals: 0 };
  const engine: GrammarEngine = {
    name: "stand-in/1",
    compile: async (grammar) => {
      compiled.push(grammar);
      if (grammar.includes("bad")) throw new AppError("INVALID_ARGUMENT", "it is bad");
      if (grammar.includes("full")) throw new AppError("RESOURCE_EXHAUSTED", "too many wait");
      return {
        advance: async () => {
          if (grammar.includes("late")) throw new AppError("INVALID_ARGUMENT", "it never ends");
          return { kind: "mask", allowed: Uint32Array.of(1) };
        },
      };
    },
  };
  const observer = { onCheck: () => void seen.checks++, onRefusal: () => void seen.refusals++ };
  return {
    compiled,
    seen,
    checker: { engine, absence: "", withoutEngine: () => undefined, clock: systemClock, observer, ...more },
  };
}

const asked = (field: string, regex: string) => ({ field, content: { kind: "regex", regex } as const });
const request = { asked: [asked("a", "x"), asked("b", "y")], minTokens: undefined, build: () => "whole" };

describe("checking a grammar", () => {
  it("compiles each piece, then the whole, and says with what", async () => {
    const { checker: own, compiled, seen } = checker();
    expect(await checkGrammar(own, request)).toEqual({ grammar: "whole", grammarEngine: "stand-in/1" });
    expect(compiled).toHaveLength(3);
    expect(compiled.at(-1)).toBe("whole");
    expect(seen).toEqual({ checks: 1, refusals: 0 });
  });

  it("compiles what is asked for several times once, and names the field of the first", async () => {
    const { checker: own, compiled } = checker();
    await checkGrammar(own, { ...request, asked: [asked("a", "x"), asked("b", "y"), asked("c", "x")] });
    expect(compiled).toHaveLength(3);
    const faulty = { ...request, asked: [asked("a", "bad"), asked("b", "y"), asked("c", "bad")] };
    await expect(checkGrammar(own, faulty)).rejects.toMatchObject({ details: { param: "a" } });
  });

  it.each([
    ["b", { asked: [asked("a", "x"), asked("b", "bad")] }, "b: it is bad"],
    ["b", { asked: [asked("a", "x"), asked("b", "late")] }, "b: it never ends"],
    ["a", { build: () => "bad" }, "a: it is bad"],
    ["b", { asked: [asked("a", "x"), asked("b", "x\\")] }, "b: the regular expression ends within an escape"],
    ["min_tokens", { minTokens: 3 }, "min_tokens: expected 0: with a, the grammar says where the answer ends"],
  ])("names %s as the field at fault", async (param, more, message) => {
    const { checker: own, seen } = checker();
    await expect(checkGrammar(own, { ...request, ...more })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message,
      details: { param },
    });
    expect(seen).toEqual({ checks: 1, refusals: 1 });
  });

  it("refuses everything where there is no engine, and says why", async () => {
    const { checker: own } = checker({ engine: undefined, absence: "this installation was built without constrained decoding" });
    await expect(checkGrammar(own, request)).rejects.toMatchObject({
      message: "a: this installation was built without constrained decoding",
      details: { param: "a", openaiCode: "unsupported" },
    });
  });

  it("waits for nothing that cannot be: a worker without the engine, a queue that is full", async () => {
    const { checker: own } = checker({ withoutEngine: (name) => (name === "stand-in/1" ? "attention-1" : undefined) });
    await expect(checkGrammar(own, request)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("attention-1"),
    });
    await expect(checkGrammar(checker().checker, { ...request, build: () => "full" })).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
    });
  });
});
