import { AppError } from "@moiety/core";
import type { GrammarEngine, GrammarState, MaskStep } from "@moiety/grammar";

const STRIDE = 5;

/** What may follow some tokens: those that are, modulo `STRIDE`, what the tokens add up to. */
export function mayFollow(tokens: readonly number[], token: number): boolean {
  return token % STRIDE === tokens.reduce((sum, each) => sum + each, 0) % STRIDE;
}

/**
 * A language of which every prefix has a mask of its own. `faulty` cannot be compiled, `short:n` is complete after n tokens,
 * `broken:n` cannot be followed after n tokens.
 */
export class StandInGrammar implements GrammarEngine {
  readonly name = "stand-in/1";
  compiled = 0;
  /** Masks wait for this while it is set. */
  gate: Promise<void> | undefined;
  readonly #vocabSize: number;

  constructor(vocabSize: number) {
    this.#vocabSize = vocabSize;
  }

  async compile(grammar: string): Promise<GrammarState> {
    this.compiled += 1;
    if (grammar === "faulty") throw new AppError("INVALID_ARGUMENT", "it is faulty");
    const [kind, count] = grammar.split(":");
    const seen: number[] = [];
    const advance = async (tokens: Int32Array): Promise<MaskStep> => {
      await this.gate;
      await new Promise((resolve) => setImmediate(resolve));
      for (const token of tokens) {
        if (!mayFollow(seen, token)) throw new AppError("INVALID_ARGUMENT", `token ${token} was not allowed`);
        seen.push(token);
      }
      if (kind === "broken" && seen.length >= Number(count)) throw new AppError("INVALID_ARGUMENT", "it became too complex");
      if (kind === "short" && seen.length >= Number(count)) return { kind: "complete" };
      const allowed = new Uint32Array(Math.ceil(this.#vocabSize / 32));
      for (let token = 0; token < this.#vocabSize; token++) {
        if (mayFollow(seen, token)) allowed[token >>> 5] = (allowed[token >>> 5] ?? 0) | (1 << (token & 31));
      }
      return { kind: "mask", allowed };
    };
    return { advance };
  }
}
