import { createHash } from "node:crypto";
import { AppError } from "@moiety/core";
import { GRAMMAR_ENGINE, loadAddon, type NativeMatcher, type NativeVocabulary } from "./addon.js";
import type { GrammarEngine, GrammarState, MaskStep } from "./grammar-engine.js";
import { type GrammarLimits, MAX_GRAMMAR_LENGTH } from "./limits.js";
import { refusalOf } from "./refusal.js";
import { packVocabulary, type TokenBytes } from "./vocabulary.js";
import { WorkQueue } from "./work-queue.js";

export interface OpenGrammarEngineOptions {
  readonly tokens: TokenBytes;
  /** Of the model: ids without bytes are padding. */
  readonly vocabSize: number;
  readonly limits: GrammarLimits;
  /** Grammars that may wait for one of the two that compile at a time. Default 64. */
  readonly maxWaiting?: number;
}

/** Every end that a grammar may have is named in it: the engine adds none. */
const NO_TOKEN = 0xffffffff;
/** libuv has four threads, and the masks of generations need some. */
const COMPILING = 2;
const KEPT_GRAMMARS = 256;
/** UTF-16 units of the texts of all grammars that are kept. */
const KEPT_LENGTH = 16_777_216;

/**
 * Opens the engine for a vocabulary. Blocks the event loop for up to a second with a vocabulary of 200,000: open it while starting.
 * @throws AppError FAILED_PRECONDITION when the addon is not built.
 */
export function openGrammarEngine(options: OpenGrammarEngineOptions): GrammarEngine {
  const { Vocabulary } = loadAddon();
  const { bytes, ends } = packVocabulary(options.tokens, options.vocabSize);
  return new LlguidanceEngine(new Vocabulary(bytes, ends, NO_TOKEN, options.limits), options.maxWaiting ?? 64);
}

interface Kept {
  readonly matcher: Promise<NativeMatcher>;
  readonly length: number;
}

class LlguidanceEngine implements GrammarEngine {
  readonly name = GRAMMAR_ENGINE;
  readonly #vocabulary: NativeVocabulary;
  readonly #queue: WorkQueue;
  /** By hash, the least recently used first. */
  readonly #kept = new Map<string, Kept>();
  #keptLength = 0;

  constructor(vocabulary: NativeVocabulary, maxWaiting: number) {
    this.#vocabulary = vocabulary;
    this.#queue = new WorkQueue({ running: COMPILING, waiting: maxWaiting });
  }

  async compile(grammar: string): Promise<GrammarState> {
    if (grammar.length > MAX_GRAMMAR_LENGTH) {
      throw new AppError(
        "INVALID_ARGUMENT",
        `the grammar has ${grammar.length} characters, expected at most ${MAX_GRAMMAR_LENGTH}`,
      );
    }
    const matcher = await this.#compiled(grammar);
    return new MatcherState(matcher.fork());
  }

  #compiled(grammar: string): Promise<NativeMatcher> {
    const key = createHash("sha256").update(grammar).digest("base64");
    const known = this.#kept.get(key);
    if (known) this.#forget(key, known);
    const kept = known ?? { matcher: this.#compile(grammar), length: grammar.length };
    this.#kept.set(key, kept);
    this.#keptLength += kept.length;
    if (known) return kept.matcher;
    this.#makeRoom();
    kept.matcher.catch((error: unknown) => {
      // A refusal is as good as new the next time; want of room is not.
      if (AppError.from(error).retryable && this.#kept.get(key) === kept) this.#forget(key, kept);
    });
    return kept.matcher;
  }

  #compile(grammar: string): Promise<NativeMatcher> {
    return this.#queue.run(async () => {
      try {
        return await this.#vocabulary.compile(grammar);
      } catch (thrown) {
        throw refusalOf(thrown);
      }
    });
  }

  #forget(key: string, kept: Kept): void {
    this.#kept.delete(key);
    this.#keptLength -= kept.length;
  }

  #makeRoom(): void {
    for (const [key, kept] of this.#kept) {
      if (this.#kept.size <= KEPT_GRAMMARS && this.#keptLength <= KEPT_LENGTH) return;
      this.#forget(key, kept);
    }
  }
}

class MatcherState implements GrammarState {
  readonly #matcher: NativeMatcher;
  #last: Promise<unknown> = Promise.resolve();

  constructor(matcher: NativeMatcher) {
    this.#matcher = matcher;
  }

  advance(tokens: Int32Array): Promise<MaskStep> {
    const step = this.#last.then(() => this.#advance(tokens));
    this.#last = step.catch(() => undefined);
    return step;
  }

  async #advance(tokens: Int32Array): Promise<MaskStep> {
    try {
      const allowed = await this.#matcher.advance(Uint32Array.from(tokens));
      return allowed.length === 0 ? { kind: "complete" } : { kind: "mask", allowed };
    } catch (thrown) {
      throw refusalOf(thrown);
    }
  }
}
