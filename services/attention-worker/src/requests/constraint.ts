import { AppError, type Clock } from "@moiety/core";
import type { GrammarEngine, GrammarState, MaskOutcome } from "@moiety/grammar";
import type { GenerationParams } from "@moiety/queue";

/** Told how long the grammar engine took, waiting for a thread included. Called on the hot path: implementations only count. */
export interface GrammarObserver {
  onCompile(durationMs: number): void;
  onMask(durationMs: number): void;
}

/** What outputs are held to grammars with. */
export interface Decoding {
  readonly engine: GrammarEngine;
  readonly clock: Clock;
  readonly observer: GrammarObserver;
}

/** Marks what a grammar is to blame for: the pass itself was sound. */
export function isConstraintFault(error: Error): error is AppError {
  return error instanceof AppError && error.details["constraint"] === true;
}

/**
 * Holds one request's output to its grammar. The mask of the next draw is computed while the layers run. It depends on the grammar and
 * the tokens before it and on nothing else, so that a pass that is repeated, a request that is preempted and a worker that takes one
 * over draw as the first would have.
 */
export class Constraint {
  readonly #decoding: Decoding;
  #state: GrammarState | undefined;
  /** Never rejects. */
  #step: Promise<MaskOutcome>;

  constructor(decoding: Decoding, grammar: string, logged: Int32Array) {
    this.#decoding = decoding;
    this.#step = this.#begin(grammar, logged);
  }

  /** What may be drawn next, or why nothing can be; the same promise until a token is taken. */
  get mask(): Promise<MaskOutcome> {
    return this.#step;
  }

  /** Goes on by the token that was drawn, at once. */
  take(token: number): void {
    this.#step = this.#follow(this.#step, token);
  }

  async #begin(grammar: string, logged: Int32Array): Promise<MaskOutcome> {
    const { engine, clock, observer } = this.#decoding;
    try {
      const begunMs = clock.monotonicMs();
      this.#state = await engine.compile(grammar);
      observer.onCompile(clock.monotonicMs() - begunMs);
      return await this.#advance(this.#state, logged);
    } catch (thrown) {
      return faultOf(thrown);
    }
  }

  async #follow(before: Promise<MaskOutcome>, token: number): Promise<MaskOutcome> {
    const outcome = await before;
    if (outcome instanceof AppError || this.#state === undefined) return outcome;
    try {
      return await this.#advance(this.#state, Int32Array.of(token));
    } catch (thrown) {
      return faultOf(thrown);
    }
  }

  async #advance(state: GrammarState, tokens: Int32Array): Promise<MaskOutcome> {
    const { clock, observer } = this.#decoding;
    const begunMs = clock.monotonicMs();
    const step = await state.advance(tokens);
    observer.onMask(clock.monotonicMs() - begunMs);
    return step;
  }
}

function faultOf(thrown: unknown): AppError {
  const { code, message } = AppError.from(thrown);
  return new AppError(code, `the output cannot be held to its grammar: ${message}`, { details: { constraint: true } });
}

/**
 * The constraint of a request; absent when it has none.
 * @throws AppError UNAVAILABLE when this worker cannot obey the grammar as the gateway checked it; INVALID_ARGUMENT for parameters that
 * no gateway lets through.
 */
export function constraintOf(
  decoding: Decoding | undefined,
  { grammar, grammarEngine, minTokens }: GenerationParams,
  logged: () => Int32Array,
): Constraint | undefined {
  if (grammar === undefined) return undefined;
  if (decoding === undefined) {
    throw new AppError("UNAVAILABLE", "the attention worker was built without constrained decoding, which this request needs");
  }
  if (grammarEngine !== decoding.engine.name) {
    const message = `the grammar was checked with ${grammarEngine ?? "no engine"}; this attention worker has ${decoding.engine.name}`;
    throw new AppError("UNAVAILABLE", message);
  }
  if (minTokens > 0) throw new AppError("INVALID_ARGUMENT", "minTokens must be 0 where a grammar says when the output ends");
  return new Constraint(decoding, grammar, logged());
}
