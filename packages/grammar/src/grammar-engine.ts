import type { AppError } from "@moiety/core";

/** Which tokens may be drawn next. */
export type MaskStep =
  /** Bit i of word floor(i/32) set: token i may be drawn. At least one may. */
  | { readonly kind: "mask"; readonly allowed: Uint32Array }
  /** Everything has been said: no token may follow. */
  | { readonly kind: "complete" };

/**
 * Where one generation stands in its grammar. A pure function of the grammar's text and the tokens consumed: whoever consumes the same
 * tokens, in however many calls, gets the same masks.
 */
export interface GrammarState {
  /**
   * Consumes tokens, then says which may be next. Runs off the event loop; calls for one state queue up.
   * @throws AppError INVALID_ARGUMENT for a token that was not allowed, or when the grammar became too complex to follow; the state
   * is of no more use then.
   */
  advance(tokens: Int32Array): Promise<MaskStep>;
}

export interface GrammarEngine {
  /** Names language and version: engines of one name admit the same tokens. */
  readonly name: string;
  /**
   * A state at the beginning of a grammar, which is text that `turnGrammar` and its like made. Compiled grammars are kept, the
   * least recently used go first; so are refusals.
   * @throws AppError INVALID_ARGUMENT in the engine's words for a grammar that cannot be obeyed; RESOURCE_EXHAUSTED when too many wait.
   */
  compile(grammar: string): Promise<GrammarState>;
}

/** A failed step in a promise that never rejects. */
export type MaskOutcome = MaskStep | AppError;
