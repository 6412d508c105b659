import { AppError } from "@moiety/core";
import { isEbnf, larkFromEbnf } from "./ebnf.js";
import { narrowed } from "./json-narrowing.js";
import { checkLark, regexAsLark, wordsAsLark } from "./lark.js";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** What a client wants a text to be. */
export type ContentGrammar =
  /** Anything. */
  | { readonly kind: "text" }
  | { readonly kind: "json"; readonly schema: JsonSchema }
  | { readonly kind: "regex"; readonly regex: string }
  /** One of these words, exactly. */
  | { readonly kind: "choice"; readonly words: readonly string[] }
  /** A grammar of the client's own, in llguidance's Lark or in EBNF with `::=`. */
  | { readonly kind: "grammar"; readonly text: string };

/** One member of llguidance's list of grammars. */
export type GrammarPart = { readonly name?: string } & ({ readonly lark_grammar: string } | { readonly json_schema: JsonSchema });

/**
 * How JSON is spelled. Whitespace is bounded, since a model may else write it to the limit of tokens. `\u` escapes are left out: a key
 * spelled with one would be another key to the grammar, and the same to whoever parses the JSON.
 */
const SPELLING = { whitespace_pattern: "[ \\n]{1,16}", json_allowed_escapes: 'nrbtf\\"' } as const;

/** Any text at all. */
export const ANY_TEXT = "/(.|\\n)*/";

/** @throws AppError INVALID_ARGUMENT for what no grammar may hold: markup, numbers that JSON.parse rounds, a regex with a loose end. */
export function contentPart(content: ContentGrammar, name?: string): GrammarPart {
  const named = name === undefined ? {} : { name };
  switch (content.kind) {
    case "text":
      return { ...named, lark_grammar: `start: ${ANY_TEXT}` };
    case "json":
      // Whatever a client says of the spelling itself, such as to be lenient, is overruled.
      return { ...named, json_schema: { ...narrowed(content.schema), "x-guidance": SPELLING } };
    case "regex":
      return { ...named, lark_grammar: `start: ${regexAsLark(content.regex)}` };
    case "choice":
      return { ...named, lark_grammar: `start: ${wordsAsLark(content.words)}` };
    case "grammar": {
      const lark = isEbnf(content.text) ? larkFromEbnf(content.text) : content.text;
      checkLark(lark);
      return { ...named, lark_grammar: lark };
    }
  }
}

/** The text of a list of grammars, of which the first is the one that is generated; the others it refers to as `@name`. */
export function grammarText(parts: readonly GrammarPart[]): string {
  return JSON.stringify({ grammars: parts });
}

/** The grammar of a content and nothing else: to see whether it can be obeyed. @throws AppError INVALID_ARGUMENT as {@link contentPart}. */
export function contentGrammar(content: ContentGrammar): string {
  return grammarText([contentPart(content)]);
}

/**
 * The grammar of a plain completion: the content, then one of the tokens that end it.
 * @throws AppError INVALID_ARGUMENT as {@link contentPart}, and when there is no token to end with.
 */
export function completionGrammar(content: ContentGrammar, eosTokenIds: readonly number[]): string {
  if (eosTokenIds.length === 0) throw new AppError("INVALID_ARGUMENT", "this model has no token that ends a completion");
  const lark = `start: @answer <[${eosTokenIds.join(",")}]>`;
  return grammarText([{ lark_grammar: lark }, contentPart(content, "answer")]);
}
