import { type AppError, invariant, parseRequestId } from "@moiety/core";
import type { Forward } from "../forward/forward.js";
import type { KvCache, PageTable } from "../kv-cache/kv-cache.js";
import { Sequence } from "../scheduler/sequence.js";

/** A sequence of one token, with pages of its own for ever, that shows whether a pass can succeed at all. */
export class Canary {
  readonly pages: PageTable;
  readonly #sequence: Sequence;
  readonly #forward: Forward;

  constructor(cache: KvCache, forward: Forward) {
    this.#sequence = new Sequence({
      id: parseRequestId("canary"),
      priority: 0,
      arrivedAtMs: 0,
      promptTokens: [0],
      outputTokens: [],
      maxTokens: 1,
      cacheSalt: "canary",
      pageTokens: cache.pageTokens,
      reusePrefix: false,
    });
    this.pages = cache.open({ hashes: this.#sequence.hashes, tokens: 1, reuse: false });
    invariant(cache.reserve(this.pages, 1), "an empty cache has a page for the canary");
    this.#sequence.state = { kind: "prefilling", pages: this.pages, computed: 0 };
    this.#forward = forward;
  }

  /** Runs its pass. Returns what was wrong with it, if anything; an aborted pass counts as a success. */
  async sing(signal: AbortSignal): Promise<AppError | undefined> {
    const rows = { sequence: this.#sequence, start: 0, count: 1, draws: false };
    const [outcome] = await this.#forward.run([{ rows, draws: [], signal, alone: true }]);
    return outcome?.kind === "failed" && !signal.aborted ? outcome.error : undefined;
  }
}
