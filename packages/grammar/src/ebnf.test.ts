import { describe, expect, it } from "vitest";
import { fate, openTinyEngine } from "../test/tiny-vocabulary.js";
import { isEbnf, larkFromEbnf } from "./ebnf.js";
import { contentGrammar, isGrammarAddonBuilt } from "./index.js";

const ARITHMETIC = `
# the example of llama.cpp
root  ::= (expr "=" ws term "\\n"){1,2}
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \\t\\n]*
`;
const LISTS = 'root ::= "- " item+\nitem ::= [^\\x0A]{1,3} "\\u00e9"\n  | "\\"" .';

describe("EBNF", () => {
  it("is told from Lark by its sign", () => {
    expect(isEbnf(ARITHMETIC)).toBe(true);
    expect(isEbnf('start: "::=" // root ::= x')).toBe(false);
  });

  it("has its regular rules as terminals, and the others as rules", () => {
    expect(larkFromEbnf(ARITHMETIC).split("\n")).toEqual([
      "start: g_root_0",
      'g_root_0: ((g_expr_1 "=" G_WS_5 g_term_2 "\\n")){1,2}',
      "g_expr_1: g_term_2 ((/[\\x{2d}\\x{2b}\\x{2a}\\x{2f}]/ g_term_2))*",
      'g_term_2: (G_IDENT_3 | G_NUM_4 | "(" G_WS_5 g_expr_1 ")" G_WS_5)',
      "G_IDENT_3: /[\\x{61}-\\x{7a}]/ (/[\\x{61}-\\x{7a}\\x{30}-\\x{39}\\x{5f}]/)* G_WS_5",
      "G_NUM_4: (/[\\x{30}-\\x{39}]/)+ G_WS_5",
      "G_WS_5: (/[\\x{20}\\x{9}\\x{a}]/)*",
    ]);
  });

  it.each([
    ["expr ::= a", "expected a rule named root"],
    ["root ::= a", "rule a, which root refers to, is missing"],
    ['root ::= "a"\nroot ::= "b"', "rule root is there twice"],
    ['root ::= "a', "line 1: expected a string that ends on its line"],
    ["root ::= [a", "line 1: expected ]"],
    ["root ::= []", "line 1: expected at least one character"],
    ['root ::= ("a"', "line 1: expected )"],
    ['root ::= "a" )', "line 1: expected the end of the rule"],
    ['root ::= "a"{x}', "line 1: expected {m}"],
    ['root ::= "\\u12"', "line 1: expected an escape that is whole"],
    ['root ::= "\\UFFFFFFFF"', "line 1: expected the number of a character"],
    [`root ::= ${"(".repeat(65)}"a"${")".repeat(65)}`, "line 1: expected groups at most 64 deep"],
    ['root ::= "a"\n\n= b', "line 3: expected the name of a rule"],
  ])("%j is refused: %s", (grammar, message) => {
    expect(() => larkFromEbnf(grammar)).toThrow(message);
  });
});

describe.skipIf(!isGrammarAddonBuilt())("EBNF as it is obeyed", () => {
  const engine = openTinyEngine();
  const outcome = (text: string, input: string) => fate(engine, contentGrammar({ kind: "grammar", text }), input);

  it.each([
    [ARITHMETIC, "a1 +(2*x)= 3\n"],
    [LISTS, "- abcé"],
    [LISTS, '- aé"\n"é'],
    ['root ::= "yes" | "no" "pe"?', "nope"],
    ["root ::= [a-c]*", "abcabc"],
  ])("%j lets through %j", async (grammar, input) => {
    expect(await outcome(grammar, input)).toMatch(/^(?:complete|open)$/);
  });

  it.each([
    [ARITHMETIC, "a+="],
    [ARITHMETIC, "A"],
    [LISTS, "- \n"],
    [LISTS, "- abcd"],
    ['root ::= "yes" | "no" "pe"?', "maybe"],
    ["root ::= [a-c]*", "d"],
  ])("%j stops %j", async (grammar, input) => {
    expect(await outcome(grammar, input)).toMatch(/^refused/);
  });
});
