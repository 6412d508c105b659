import { AppError } from "@moiety/core";

/** What may hold a `<` or a `%` that means nothing: comments, strings and regexes, exactly as llguidance's own lexer finds them. */
const SKIPPED = [
  /(?:#|\/\/)[^\n]*/y,
  // biome-ignore lint/suspicious/noControlCharactersInRegex: strings may not hold them
  /"(?:\\(?:["\\/bfnrt]|u[a-fA-F0-9]{4}|x[a-fA-F0-9]{2})|[^"\\\u0000-\u001f\u007f])*"i?/y,
  /\/(?:\\.|[^/\\])+\/[imslux]*/y,
] as const;

const KEYWORD = /%(?:json|lark|llguidance|regex)(?![a-z])/y;

/**
 * Refuses in a client's grammar what reaches beyond text: special tokens, which could forge a message's markup, and languages within
 * the language. @throws AppError INVALID_ARGUMENT that quotes the place.
 */
export function checkLark(grammar: string): void {
  let position = 0;
  while (position < grammar.length) {
    const skipped = Math.max(...SKIPPED.map((pattern) => lengthAt(pattern, grammar, position)));
    if (skipped > 0) {
      position += skipped;
      continue;
    }
    const found = grammar[position];
    if (found === "<") throw refused(grammar, position, "special tokens cannot be named in a grammar");
    if (found === '"' || found === "/") throw refused(grammar, position, "expected a string or a regular expression that ends");
    const keyword = lengthAt(KEYWORD, grammar, position);
    if (keyword > 0) throw refused(grammar, position, `${grammar.slice(position, position + keyword)} is not available`);
    position += 1;
  }
}

function lengthAt(pattern: RegExp, text: string, position: number): number {
  pattern.lastIndex = position;
  return pattern.exec(text)?.[0].length ?? 0;
}

function refused(grammar: string, position: number, why: string): AppError {
  const line = grammar.slice(0, position).split("\n").length;
  const rest = grammar.slice(position, position + 40).split("\n", 1)[0] ?? "";
  return new AppError("INVALID_ARGUMENT", `line ${line}: ${why}: ${rest}`);
}

const NEWLINES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** A regular expression between slashes. @throws AppError INVALID_ARGUMENT for one that is empty, or ends within an escape. */
export function regexAsLark(regex: string): string {
  if (regex === "") throw new AppError("INVALID_ARGUMENT", "expected a regular expression that is not empty");
  const escaped = regex.replace(/\\[\s\S]|\\$|[/\n\r\t]/g, (part) => {
    if (part === "\\") throw new AppError("INVALID_ARGUMENT", "the regular expression ends within an escape");
    if (part.length === 1) return NEWLINES[part] ?? `\\${part}`;
    const newline = NEWLINES[part.charAt(1)];
    return newline ?? part;
  });
  return `/${escaped}/`;
}

/** Alternatives, each exactly itself. @throws AppError INVALID_ARGUMENT for no words, or an empty one. */
export function wordsAsLark(words: readonly string[]): string {
  if (words.length === 0 || words.includes("")) throw new AppError("INVALID_ARGUMENT", "expected texts that are not empty");
  return words.map(larkString).join(" | ");
}

/** A text as a string of Lark, which is JSON's spelling but for one character. */
export function larkString(text: string): string {
  return JSON.stringify(text).replaceAll("\u007f", "\\u007f");
}
