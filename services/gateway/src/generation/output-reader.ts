import { calledTool, HarmonyParser, TokenReader } from "@moiety/harmony";
import type { Tokenizer } from "@moiety/model";
import type { LoggedToken } from "@moiety/queue";

/** What tokens mean: text of the answer, text of the thoughts, arguments of a call, or something that no client sees. */
export interface OutputPart {
  readonly kind: "content" | "reasoning" | "call" | "hidden";
  /** With the first part of each call: what is called. */
  readonly callee?: string;
  readonly text: string;
  /** Tokens that became part of this text with it. */
  readonly tokens: readonly LoggedToken[];
}

/** Gives meaning to tokens, one at a time: what comes of a token never depends on how tokens were grouped. */
export interface OutputReader {
  read(token: LoggedToken): readonly OutputPart[];
  /** What is left when no token follows. */
  end(): readonly OutputPart[];
  /** Faults in the model's output that were mended, by kind. */
  readonly repairs: Repairs;
}

export type Repairs = Readonly<Record<string, number>>;

/** A checkpoint without tokenizer: tokens are all there is. */
export class TokenIdReader implements OutputReader {
  readonly repairs: Repairs = {};

  read(token: LoggedToken): readonly OutputPart[] {
    return [{ kind: "content", text: "", tokens: [token] }];
  }

  end(): readonly OutputPart[] {
    return [];
  }
}

/** Plain text: special tokens have none. */
export class PlainReader implements OutputReader {
  readonly repairs: Repairs = {};
  readonly #tokenizer: Tokenizer;
  readonly #decoder: ReturnType<Tokenizer["createDecoder"]>;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    this.#decoder = tokenizer.createDecoder();
  }

  read(token: LoggedToken): readonly OutputPart[] {
    if (this.#tokenizer.isSpecial(token.token)) return [{ kind: "content", text: this.#decoder.flush(), tokens: [token] }];
    return [{ kind: "content", text: this.#decoder.push(token.token), tokens: [token] }];
  }

  end(): readonly OutputPart[] {
    const text = this.#decoder.flush();
    return text === "" ? [] : [{ kind: "content", text, tokens: [] }];
  }
}

type HarmonyEvents = ReturnType<HarmonyParser["push"]>;

/**
 * Harmony: the final channel and preambles are the answer, the analysis channel the thoughts, messages to tools calls, markup nothing.
 * A call of what may not be called is none: a client could not answer it, and did not ask for it. Its text is content, and it is counted.
 */
export class HarmonyReader implements OutputReader {
  readonly #parser = new HarmonyParser();
  readonly #callable: ReadonlySet<string>;
  #refusedCalls = 0;
  readonly #reader: TokenReader;
  /** Tokens that ended within a character: they belong to where the character goes. */
  #undecided: LoggedToken[] = [];

  constructor(tokenizer: Tokenizer, callable: readonly string[]) {
    this.#callable = new Set(callable);
    const nameById = namesOf(tokenizer);
    this.#reader = new TokenReader({
      specialTokenName: (token) => nameById.get(token),
      tokenBytes: (token) => tokenizer.tokenBytes(token),
    });
  }

  get repairs(): Repairs {
    return { ...this.#parser.repairs, ...(this.#refusedCalls > 0 ? { "refused-call": this.#refusedCalls } : {}) };
  }

  read(token: LoggedToken): readonly OutputPart[] {
    const inputs = this.#reader.read(token.token);
    this.#undecided.push(token);
    if (inputs.length === 0) return [];
    return this.#parts(inputs.flatMap((input) => this.#parser.push(input)));
  }

  end(): readonly OutputPart[] {
    const rest = this.#reader.end().flatMap((input) => this.#parser.push(input));
    return this.#parts([...rest, ...this.#parser.end()]);
  }

  #parts(events: HarmonyEvents): readonly OutputPart[] {
    const tokens = this.#undecided;
    this.#undecided = [];
    const parts: OutputPart[] = [];
    for (const event of events) {
      if (event.type === "message-start") {
        const tool = calledTool(event.header);
        if (tool === undefined) continue;
        if (this.#mayCall(tool)) parts.push({ kind: "call", callee: functionName(tool), text: "", tokens: [] });
        else this.#refusedCalls += 1;
      }
      if (!("text" in event) || event.text === "") continue;
      const isRefused = event.type === "tool-call" && !this.#mayCall(event.recipient);
      parts.push({ kind: isRefused ? "content" : KINDS[event.type], text: event.text, tokens: [] });
    }
    const first = parts[0];
    if (!first) return tokens.length === 0 ? [] : [{ kind: "hidden", text: "", tokens }];
    return [{ ...first, tokens }, ...parts.slice(1)];
  }

  #mayCall(recipient: string): boolean {
    return this.#callable.has(functionName(recipient));
  }
}

/** Of each tokenizer, names of special tokens by their ids: there are over a thousand. */
const NAMES = new WeakMap<Tokenizer, ReadonlyMap<number, string>>();

function namesOf(tokenizer: Tokenizer): ReadonlyMap<number, string> {
  const names = NAMES.get(tokenizer) ?? new Map([...tokenizer.specialTokens].map(([name, id]) => [id, name]));
  NAMES.set(tokenizer, names);
  return names;
}

const KINDS = {
  text: "content",
  commentary: "content",
  reasoning: "reasoning",
  "tool-call": "call",
  other: "hidden",
} as const;

/** A function's name as a client declares it; a tool that is no function keeps its whole name. */
function functionName(recipient: string): string {
  const prefix = "functions.";
  return recipient.startsWith(prefix) && recipient.length > prefix.length ? recipient.slice(prefix.length) : recipient;
}
