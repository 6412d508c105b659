import type { LoggedToken } from "@moiety/queue";
import type { OutputPart, OutputReader } from "./output-reader.js";
import { StopMatcher } from "./stop-matcher.js";

/** A token of the answer, and where its text begins in it, in UTF-16 units. */
export interface ContentToken {
  readonly token: LoggedToken;
  readonly offset: number;
}

/** What is new in a call of a function. */
export interface CallDelta {
  /** Number of the call within its choice, from 0. */
  readonly index: number;
  /** Once for each call, with its first delta. */
  readonly name?: string;
  readonly arguments: string;
}

/** What is new in a choice. Concatenated, the deltas of a choice are the choice, however the tokens came. */
export interface ChoiceDelta {
  readonly content: string;
  readonly reasoning: string;
  /** In the order of their indices, each once. */
  readonly calls: readonly CallDelta[];
  /** Tokens of the answer whose text has been delivered. */
  readonly tokens: readonly ContentToken[];
  /** Every token that was generated. */
  readonly tokenIds: readonly number[];
}

interface DeltaDraft extends ChoiceDelta {
  content: string;
  reasoning: string;
  readonly calls: CallDelta[];
  readonly tokens: ContentToken[];
  readonly tokenIds: number[];
}

const emptyDelta = (): DeltaDraft => ({ content: "", reasoning: "", calls: [], tokens: [], tokenIds: [] });

export interface ChoiceAssemblerOptions {
  readonly reader: OutputReader;
  readonly stops: readonly string[];
  readonly stopTokenIds: readonly number[];
  /** Stop strings are not looked for in so many first tokens. */
  readonly minTokens: number;
  readonly maxTokens: number;
}

/** Why the assembler has seen enough. */
export interface ChoiceStop {
  /** The string or token that ended the choice. */
  readonly reason: string | number;
}

/** Turns the tokens of one choice into what a client sees of it. */
export class ChoiceAssembler {
  readonly #options: ChoiceAssemblerOptions;
  readonly #matcher: StopMatcher;
  readonly #stopTokenIds: ReadonlySet<number>;
  #stop: ChoiceStop | undefined;
  #outputTokens = 0;
  #reasoningTokens = 0;
  #calls = 0;
  /** Length of the content that was decoded, and of that which was delivered. */
  #decodedLength = 0;
  #deliveredLength = 0;
  #pending: { token: LoggedToken; offset: number; end: number }[] = [];

  constructor(options: ChoiceAssemblerOptions) {
    this.#options = options;
    this.#matcher = new StopMatcher(options.stops);
    this.#stopTokenIds = new Set(options.stopTokenIds);
  }

  get stop(): ChoiceStop | undefined {
    return this.#stop;
  }

  get outputTokens(): number {
    return this.#outputTokens;
  }

  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  /** Calls that were begun. */
  get calls(): number {
    return this.#calls;
  }

  /** Takes tokens up to the one that ends the choice; what comes after it is not part of it. */
  push(tokens: readonly LoggedToken[]): ChoiceDelta {
    const delta = emptyDelta();
    for (const token of tokens) {
      if (this.#stop || this.#outputTokens >= this.#options.maxTokens) break;
      this.#outputTokens += 1;
      delta.tokenIds.push(token.token);
      if (this.#stopTokenIds.has(token.token) && this.#outputTokens > this.#options.minTokens) {
        this.#stop = { reason: token.token };
        break;
      }
      for (const part of this.#options.reader.read(token)) this.#take(part, delta);
    }
    return delta;
  }

  /** What was held back. */
  end(): ChoiceDelta {
    const delta = emptyDelta();
    const stopped = typeof this.#stop?.reason === "string";
    if (stopped) return delta;
    for (const part of this.#options.reader.end()) this.#take(part, delta);
    // A stop string may have been completed by the very last bytes.
    if (typeof this.#stop?.reason !== "string") this.#deliver(this.#matcher.flush(), delta, true);
    return delta;
  }

  #take(part: OutputPart, delta: DeltaDraft): void {
    if (typeof this.#stop?.reason === "string") return;
    if (part.kind === "reasoning") {
      delta.reasoning += part.text;
      this.#reasoningTokens += part.tokens.length;
    }
    if (part.kind === "call") this.#takeCall(part, delta);
    if (part.kind !== "content") return;
    const offset = this.#decodedLength;
    this.#decodedLength += part.text.length;
    for (const token of part.tokens) this.#pending.push({ token, offset, end: this.#decodedLength });
    if (this.#outputTokens <= this.#options.minTokens) {
      this.#deliver(this.#matcher.flush() + part.text, delta, false);
      return;
    }
    if (this.#options.stops.length === 0) {
      this.#deliver(part.text, delta, false);
      return;
    }
    const { text, match } = this.#matcher.push(part.text);
    this.#deliver(text, delta, false);
    if (match === undefined) return;
    this.#stop = { reason: match };
    const begun = this.#pending.filter(({ offset: start }) => start < this.#deliveredLength);
    delta.tokens.push(...begun.map(({ token, offset: start }) => ({ token, offset: start })));
    this.#pending = [];
  }

  #takeCall(part: OutputPart, delta: DeltaDraft): void {
    if (part.callee !== undefined) {
      delta.calls.push({ index: this.#calls, name: part.callee, arguments: part.text });
      this.#calls += 1;
      return;
    }
    const index = this.#calls - 1;
    const last = delta.calls.at(-1);
    if (last?.index === index) delta.calls[delta.calls.length - 1] = { ...last, arguments: last.arguments + part.text };
    else delta.calls.push({ index, arguments: part.text });
  }

  #deliver(text: string, delta: DeltaDraft, all: boolean): void {
    delta.content += text;
    this.#deliveredLength += text.length;
    while (this.#pending.length > 0) {
      const [first] = this.#pending;
      if (!first || (!all && first.end > this.#deliveredLength)) return;
      this.#pending.shift();
      delta.tokens.push({ token: first.token, offset: first.offset });
    }
  }
}
