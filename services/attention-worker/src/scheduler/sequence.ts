import { invariant, type RequestId, unreachable } from "@moiety/core";
import { BlockHashes } from "../kv-cache/block-hashes.js";
import { Int32List } from "../kv-cache/int32-list.js";
import type { PageTable } from "../kv-cache/kv-cache.js";

/**
 * | state      | meaning                                                        | leaves when                                   |
 * |------------|----------------------------------------------------------------|-----------------------------------------------|
 * | waiting    | has no pages; its tokens, drawn ones too, are to be computed   | admitted                                      |
 * | prefilling | has pages; `computed` of its tokens are in them                | all its tokens are computed; preempted        |
 * | decoding   | every token but the one drawn last is computed                 | preempted                                     |
 * | ended      | has no pages and is planned no more                            | never                                         |
 *
 * Every state but the last also leaves when the sequence is ended.
 */
export type SequenceState =
  | { readonly kind: "waiting" }
  | { readonly kind: "prefilling"; readonly pages: PageTable; readonly computed: number }
  | { readonly kind: "decoding"; readonly pages: PageTable; readonly computed: number }
  | { readonly kind: "ended" };

export type SequenceEvent =
  | { readonly kind: "admitted"; readonly pages: PageTable }
  /** `computed` of the `length` tokens that the step began with are now in the pages. */
  | { readonly kind: "advanced"; readonly computed: number; readonly length: number }
  | { readonly kind: "preempted" }
  | { readonly kind: "ended" };

export function transition(state: SequenceState, event: SequenceEvent): SequenceState {
  switch (event.kind) {
    case "admitted":
      invariant(state.kind === "waiting", "only a waiting sequence is admitted");
      return { kind: "prefilling", pages: event.pages, computed: event.pages.cachedTokens };
    case "advanced":
      invariant(state.kind === "prefilling" || state.kind === "decoding", "only a running sequence advances");
      invariant(event.computed > state.computed && event.computed <= event.length, "a step computes what it planned");
      return { kind: event.computed === event.length ? "decoding" : "prefilling", pages: state.pages, computed: event.computed };
    case "preempted":
      invariant(state.kind === "prefilling" || state.kind === "decoding", "only a running sequence is preempted");
      return { kind: "waiting" };
    case "ended":
      invariant(state.kind !== "ended", "a sequence ends once");
      return { kind: "ended" };
    default:
      return unreachable(event);
  }
}

export interface SequenceOptions {
  readonly id: RequestId;
  /** 0 is the most urgent. */
  readonly priority: number;
  /** When the request came to the cluster: a resumed request keeps its place. */
  readonly arrivedAtMs: number;
  readonly promptTokens: ArrayLike<number>;
  /** What an earlier holder had drawn. */
  readonly outputTokens: ArrayLike<number>;
  /** Prompt plus output, at most. */
  readonly maxTokens: number;
  readonly cacheSalt: string;
  readonly pageTokens: number;
  /** False: the prefix cache is not read, because every position's result is wanted. */
  readonly reusePrefix: boolean;
}

/** One request's tokens, and where they stand. */
export class Sequence {
  readonly id: RequestId;
  readonly priority: number;
  readonly arrivedAtMs: number;
  readonly promptLength: number;
  readonly maxTokens: number;
  readonly reusePrefix: boolean;
  /** Prompt, then output. */
  readonly tokens: Int32List;
  readonly hashes: BlockHashes;
  state: SequenceState = { kind: "waiting" };

  constructor(options: SequenceOptions) {
    this.id = options.id;
    this.priority = options.priority;
    this.arrivedAtMs = options.arrivedAtMs;
    this.promptLength = options.promptTokens.length;
    this.maxTokens = options.maxTokens;
    this.reusePrefix = options.reusePrefix;
    this.tokens = new Int32List(options.promptTokens);
    for (const token of Array.from(options.outputTokens)) this.tokens.push(token);
    this.hashes = new BlockHashes(options.cacheSalt, this.tokens, options.pageTokens);
  }

  /** Tokens drawn so far. */
  get outputLength(): number {
    return this.tokens.length - this.promptLength;
  }

  get pages(): PageTable {
    invariant(this.state.kind === "prefilling" || this.state.kind === "decoding", "only a running sequence has pages");
    return this.state.pages;
  }

  get computed(): number {
    return this.state.kind === "prefilling" || this.state.kind === "decoding" ? this.state.computed : 0;
  }

  /** Tokens whose keys and values are not in the pages. */
  get pending(): number {
    return this.tokens.length - this.computed;
  }
}

/** Who goes first: the more urgent, then the earlier, then a fixed order. Never zero for two sequences. */
export function compareRank(a: Sequence, b: Sequence): number {
  return a.priority - b.priority || a.arrivedAtMs - b.arrivedAtMs || (a.id < b.id ? -1 : 1);
}
