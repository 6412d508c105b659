import { invariant, parseRequestId } from "@moiety/core";
import type { Batch } from "@moiety/kernels";
import { toBatchSpec } from "../forward/forward-rows.js";
import { type ForwardModel, type LayerObserver, runLayers } from "../forward/layers.js";
import type { KvCache, PageTable } from "../kv-cache/kv-cache.js";
import { Sequence } from "../scheduler/sequence.js";

export interface TokenFeedOptions {
  readonly model: ForwardModel;
  readonly cache: KvCache;
  readonly tokens: readonly number[];
  /** Whether to begin behind a prefix that is still in the cache. */
  readonly reusePrefix: boolean;
}

export interface FeedStep {
  readonly count: number;
  readonly observer?: LayerObserver;
}

/** One sequence's tokens on their way through the model, in chunks that the caller chooses. */
export class TokenFeed {
  readonly #options: TokenFeedOptions;
  readonly #sequence: Sequence;
  readonly #pages: PageTable;
  #computed: number;

  constructor(options: TokenFeedOptions) {
    const { cache, tokens, reusePrefix } = options;
    this.#options = options;
    this.#sequence = new Sequence({
      id: parseRequestId("evaluation"),
      priority: 0,
      arrivedAtMs: 0,
      promptTokens: tokens,
      outputTokens: [],
      maxTokens: cache.capacityTokens,
      cacheSalt: "evaluation",
      pageTokens: cache.pageTokens,
      reusePrefix,
    });
    const { hashes } = this.#sequence;
    this.#pages = cache.open({ hashes, tokens: tokens.length, reuse: reusePrefix });
    this.#computed = this.#pages.cachedTokens;
    this.#sequence.state = { kind: "prefilling", pages: this.#pages, computed: this.#computed };
  }

  /** Positions whose keys and values are there. */
  get computed(): number {
    return this.#computed;
  }

  push(token: number): void {
    this.#sequence.tokens.push(token);
  }

  /** Computes the next `count` tokens; `last` reads the finished rows. */
  async advance<T>({ count, observer }: FeedStep, last: (batch: Batch) => Promise<T>): Promise<T> {
    const { model, cache } = this.#options;
    const upTo = this.#computed + count;
    invariant(upTo <= this.#sequence.tokens.length, "only tokens that are there are computed");
    invariant(cache.reserve(this.#pages, upTo), "the cache was sized for the case");
    const rows = { sequence: this.#sequence, start: this.#computed, count, draws: false };
    const options = { signal: new AbortController().signal, last, ...(observer === undefined ? {} : { observer }) };
    const result = await runLayers(model, toBatchSpec([rows]), options);
    this.#computed = upTo;
    cache.commit(this.#pages, this.#sequence.hashes, upTo);
    return result;
  }

  close(): void {
    this.#options.cache.close(this.#pages);
  }
}
