import { AppError, type Clock } from "@moiety/core";
import { contentGrammar, type GrammarEngine } from "@moiety/grammar";
import { invalidField } from "../openai/errors.js";
import type { AskedContent } from "../openai/grammar-fields.js";

/** What a record says of the grammar that its output is held to. */
export interface CheckedGrammar {
  readonly grammar: string;
  readonly grammarEngine: string;
}

export interface GrammarObserver {
  /** How long it took to check a request's grammar, waiting included. */
  onCheck(durationMs: number): void;
  onRefusal(): void;
}

export interface GrammarChecker {
  /** Absent: this installation, or this model, has none. */
  readonly engine: GrammarEngine | undefined;
  /** Why there is no engine, to a client. */
  readonly absence: string;
  /** An attention worker that lacks an engine, if there is one: any worker may be given any request, or have to take it over. */
  readonly withoutEngine: (engineName: string) => string | undefined;
  readonly clock: Clock;
  readonly observer: GrammarObserver;
}

export interface GrammarRequest {
  /** What the client wrote, at least one. */
  readonly asked: readonly AskedContent[];
  readonly minTokens: number | undefined;
  /** The whole grammar, made of what was asked. */
  readonly build: () => string;
}

/**
 * Compiles what a client asked for, piece by piece, then as a whole, with the first mask of each: what gets through can be obeyed.
 * @throws AppError INVALID_ARGUMENT that names the field at fault and says what about it; RESOURCE_EXHAUSTED when too many wait;
 * UNAVAILABLE while an attention worker could not obey it.
 */
export async function checkGrammar(checker: GrammarChecker, request: GrammarRequest): Promise<CheckedGrammar> {
  const { engine, absence, clock, observer } = checker;
  const beganMs = clock.monotonicMs();
  try {
    const field = request.asked[0]?.field ?? "tool_choice";
    if (engine === undefined) throw invalidField(field, absence, "unsupported");
    if (request.minTokens) throw invalidField("min_tokens", `expected 0: with ${field}, the grammar says where the answer ends`);
    const checked = new Set<string>();
    for (const { field: own, content } of request.asked) {
      const key = JSON.stringify(content);
      // Many functions may be called with any object.
      if (content.kind === "text" || checked.has(key)) continue;
      checked.add(key);
      await begin(engine, { field: own, build: () => contentGrammar(content) });
    }
    const grammar = await begin(engine, { field, build: request.build });
    const unable = checker.withoutEngine(engine.name);
    if (unable !== undefined) {
      throw new AppError(
        "UNAVAILABLE",
        `${field}: attention worker ${unable} cannot hold answers to a grammar of ${engine.name}`,
      );
    }
    return { grammar, grammarEngine: engine.name };
  } catch (thrown) {
    observer.onRefusal();
    throw thrown;
  } finally {
    observer.onCheck(clock.monotonicMs() - beganMs);
  }
}

/** Some faults show with the first mask only. */
async function begin(engine: GrammarEngine, part: { readonly field: string; readonly build: () => string }): Promise<string> {
  try {
    const grammar = part.build();
    const state = await engine.compile(grammar);
    await state.advance(new Int32Array(0));
    return grammar;
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === "INVALID_ARGUMENT") throw invalidField(part.field, thrown.message);
    throw thrown;
  }
}
