import { describe, expect, it } from "vitest";
import { checkLark, regexAsLark, wordsAsLark } from "./lark.js";

describe("a grammar of a client", () => {
  it.each([
    'start: "a" | /b</ // <|end|>',
    'start: "<|end|>" "%json" # <|end|>',
    'start: /\\/<[^>]/i | "\\"<"i',
    "start: x{1,3}\nx: /[a-z]+/\n%ignore /[ ]+/",
  ])("%s is let through", (grammar) => {
    expect(() => checkLark(grammar)).not.toThrow();
  });

  it.each([
    'start: "a" <|end|>',
    "start: <[200007]>",
    "start: <[*]>",
    'start: "a\u0080" <|end|> "b"',
    'start: "a <|end|>',
    'start: "a\n" <|end|> "b"',
    "start: /a\n| <|end|>",
    'start: "\\u12" <|end|> "',
    'start: %json {"type":"string"}',
    'start: %lark { start: "a" }',
    "%llguidance {}\nstart: /a/",
    "start: %regex { }",
  ])("%j is refused", (grammar) => {
    expect(() => checkLark(grammar)).toThrow(/^line \d+: /);
  });
});

describe("a regular expression", () => {
  it("cannot end the literal that it stands in", () => {
    expect(regexAsLark("a/b\\/c\\\\/d\n")).toBe("/a\\/b\\/c\\\\\\/d\\n/");
    expect(() => regexAsLark("a\\")).toThrow("within an escape");
    expect(() => regexAsLark("")).toThrow("not empty");
  });
});

describe("words", () => {
  it("are strings, whatever is in them", () => {
    expect(wordsAsLark(['a"b', "\u007f\n<|end|>"])).toBe('"a\\"b" | "\\u007f\\n<|end|>"');
    expect(() => checkLark(`start: ${wordsAsLark(["<|end|>", '"', "\\"])}`)).not.toThrow();
    expect(() => wordsAsLark([])).toThrow();
    expect(() => wordsAsLark(["a", ""])).toThrow();
  });
});
