import { AppError } from "@moiety/core";

export type EbnfNode =
  | { readonly kind: "text"; readonly text: string }
  /** One character, by a regular expression. */
  | { readonly kind: "characters"; readonly regex: string }
  | { readonly kind: "ref"; readonly name: string }
  | { readonly kind: "sequence"; readonly nodes: readonly EbnfNode[] }
  | { readonly kind: "choice"; readonly nodes: readonly EbnfNode[] }
  | { readonly kind: "repeat"; readonly node: EbnfNode; readonly min: number; readonly max?: number };

export interface EbnfRule {
  readonly name: string;
  readonly body: EbnfNode;
}

const MAX_DEPTH = 64;
const SPACE = /(?:[ \t]|#[^\r\n]*)*/y;
const SPACE_AND_LINES = /(?:\s|#[^\r\n]*)*/y;
const NAME = /[A-Za-z_][\w-]*/y;
const NUMBER = /\d{1,9}/y;
const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([^xuU]))/y;
const ESCAPED: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

/** Reads `name ::= alternatives`, one after the other. @throws AppError INVALID_ARGUMENT that names the line. */
export function parseEbnf(grammar: string): readonly EbnfRule[] {
  return new EbnfParser(grammar).rules();
}

class EbnfParser {
  readonly #text: string;
  #position = 0;
  /** Groups that are open: rules end with their line, groups do not. */
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  rules(): readonly EbnfRule[] {
    const rules: EbnfRule[] = [];
    this.#skip(SPACE_AND_LINES);
    while (this.#position < this.#text.length) {
      const name = this.#take(NAME) ?? this.#fail("expected the name of a rule");
      this.#skip(SPACE);
      if (!this.#takeText("::=")) this.#fail("expected ::=");
      this.#skip(SPACE_AND_LINES);
      rules.push({ name, body: this.#choice() });
      const end = this.#position;
      this.#skip(SPACE_AND_LINES);
      const isApart = this.#position === this.#text.length || /[\r\n]/.test(this.#text.slice(end, this.#position));
      if (!isApart) this.#fail("expected the end of the rule");
    }
    return rules;
  }

  #choice(): EbnfNode {
    const nodes = [this.#sequence()];
    while (this.#takeAfterSpace("|")) {
      this.#skip(SPACE_AND_LINES);
      nodes.push(this.#sequence());
    }
    const [first] = nodes;
    return first && nodes.length === 1 ? first : { kind: "choice", nodes };
  }

  #sequence(): EbnfNode {
    const nodes: EbnfNode[] = [];
    for (let node = this.#atom(); node !== undefined; node = this.#atom()) {
      nodes.push(this.#repeated(node));
      this.#skipWithin();
    }
    return { kind: "sequence", nodes };
  }

  /** Absent where no expression begins. */
  #atom(): EbnfNode | undefined {
    const next = this.#text[this.#position];
    if (next === '"') return { kind: "text", text: this.#string() };
    if (next === "[") return { kind: "characters", regex: this.#characters() };
    if (next === ".") {
      this.#position += 1;
      return { kind: "characters", regex: "(.|\\n)" };
    }
    if (next === "(") return this.#group();
    const name = this.#take(NAME);
    return name === undefined ? undefined : { kind: "ref", name };
  }

  #group(): EbnfNode {
    if (this.#depth === MAX_DEPTH) this.#fail(`expected groups at most ${MAX_DEPTH} deep`);
    this.#depth += 1;
    this.#position += 1;
    this.#skip(SPACE_AND_LINES);
    const node = this.#choice();
    this.#skip(SPACE_AND_LINES);
    if (!this.#takeText(")")) this.#fail("expected )");
    this.#depth -= 1;
    return { kind: "choice", nodes: [node] };
  }

  #repeated(node: EbnfNode): EbnfNode {
    this.#skipWithin();
    if (this.#takeText("*")) return { kind: "repeat", node, min: 0 };
    if (this.#takeText("+")) return { kind: "repeat", node, min: 1 };
    if (this.#takeText("?")) return { kind: "repeat", node, min: 0, max: 1 };
    if (!this.#takeText("{")) return node;
    this.#skip(SPACE_AND_LINES);
    const least = this.#take(NUMBER);
    const open = this.#takeAfterSpace(",");
    this.#skip(SPACE_AND_LINES);
    const most = open ? this.#take(NUMBER) : least;
    if (!this.#takeAfterSpace("}") || (least === undefined && most === undefined))
      this.#fail("expected {m}, {m,}, {,n} or {m,n}");
    return { kind: "repeat", node, min: Number(least ?? 0), ...(most === undefined ? {} : { max: Number(most) }) };
  }

  #string(): string {
    this.#position += 1;
    let text = "";
    while (!this.#takeText('"')) text += this.#character("expected a string that ends on its line");
    return text;
  }

  /** A set of characters, each spelled by its number: a regex reads more into some of them. */
  #characters(): string {
    this.#position += 1;
    const negated = this.#takeText("^");
    let members = "";
    while (!this.#takeText("]")) {
      const first = this.#character("expected ]");
      const isRange = this.#text[this.#position] === "-" && this.#text[this.#position + 1] !== "]";
      if (isRange) this.#position += 1;
      members += isRange ? `${numbered(first)}-${numbered(this.#character("expected ]"))}` : numbered(first);
    }
    if (members === "") return negated ? "(.|\\n)" : this.#fail("expected at least one character within [ and ]");
    return `[${negated ? "^" : ""}${members}]`;
  }

  #character(missing: string): string {
    const code = this.#text.codePointAt(this.#position);
    const plain = code === undefined ? "" : String.fromCodePoint(code);
    if (plain === "" || plain === "\n" || plain === "\r") return this.#fail(missing);
    if (plain !== "\\") {
      this.#position += plain.length;
      return plain;
    }
    const found = this.#match(ESCAPE) ?? this.#fail("expected an escape that is whole");
    const [, two, four, eight, other = ""] = found;
    const hex = two ?? four ?? eight;
    if (hex === undefined) return ESCAPED[other] ?? other;
    const number = Number.parseInt(hex, 16);
    return number > 0x10ffff ? this.#fail("expected the number of a character") : String.fromCodePoint(number);
  }

  /** Whitespace within a rule: its line, or within a group any. */
  #skipWithin(): void {
    this.#skip(this.#depth > 0 ? SPACE_AND_LINES : SPACE);
  }

  /** Looks past line ends as well, but stays where it was if something else follows. */
  #takeAfterSpace(text: string): boolean {
    const before = this.#position;
    this.#skip(SPACE_AND_LINES);
    if (this.#takeText(text)) return true;
    this.#position = before;
    return false;
  }

  #takeText(text: string): boolean {
    if (!this.#text.startsWith(text, this.#position)) return false;
    this.#position += text.length;
    return true;
  }

  #take(pattern: RegExp): string | undefined {
    return this.#match(pattern)?.[0];
  }

  #skip(pattern: RegExp): void {
    this.#match(pattern);
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#position;
    const match = pattern.exec(this.#text) ?? undefined;
    this.#position += match?.[0].length ?? 0;
    return match;
  }

  #fail(expected: string): never {
    const line = this.#text.slice(0, this.#position).split("\n").length;
    const rest = this.#text.slice(this.#position, this.#position + 30).split("\n", 1)[0] ?? "";
    throw new AppError("INVALID_ARGUMENT", `line ${line}: ${expected}${rest === "" ? "" : `, found ${rest}`}`);
  }
}

function numbered(character: string): string {
  return `\\x{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
