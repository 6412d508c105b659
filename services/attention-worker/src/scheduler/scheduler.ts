import { AppError, invariant } from "@moiety/core";
import type { KvCache } from "../kv-cache/kv-cache.js";
import { compareRank, type Sequence, transition } from "./sequence.js";
import { type PlannedRows, StepBudget, type StepPlan } from "./step-plan.js";

export interface SchedulerLimits {
  /** Sequences that hold pages at a time. */
  readonly maxSequences: number;
  /** Tokens per step, decode and prefill together; at least `maxSequences`. */
  readonly stepTokens: number;
  /** Tokens of one prompt per step, at most. */
  readonly prefillChunkTokens: number;
  /** Longest prompt plus output. */
  readonly contextTokens: number;
}

export interface SchedulerLoad {
  readonly running: number;
  readonly waiting: number;
  /** Tokens of running and waiting sequences that are still to be prefilled. */
  readonly prefillTokens: number;
}

/**
 * Continuous batching with chunked prefill. Decode rows come first, then chunks of prompts under way, then new sequences, each
 * in the order of rank (priority, then arrival). When pages run out, the sequence of the lowest rank loses its own and waits with
 * its tokens kept; since the order is total and the first always gets what it needs, every sequence comes to its end.
 */
export class Scheduler {
  readonly #cache: KvCache;
  readonly #limits: SchedulerLimits;
  /** Both in the order of rank. */
  readonly #running: Sequence[] = [];
  readonly #waiting: Sequence[] = [];

  constructor(cache: KvCache, limits: SchedulerLimits) {
    invariant(limits.stepTokens >= limits.maxSequences, "every running sequence decodes in every step");
    invariant(limits.contextTokens <= cache.capacityTokens, "the longest sequence fits into the cache");
    this.#cache = cache;
    this.#limits = limits;
  }

  get load(): SchedulerLoad {
    const prefilling = this.#running.filter((sequence) => sequence.state.kind === "prefilling");
    const prefillTokens = [...prefilling, ...this.#waiting].reduce((sum, sequence) => sum + sequence.pending, 0);
    return { running: this.#running.length, waiting: this.#waiting.length, prefillTokens };
  }

  /** @throws AppError OUT_OF_RANGE for a sequence that could never be finished here. */
  add(sequence: Sequence): void {
    const { contextTokens } = this.#limits;
    if (sequence.tokens.length >= contextTokens || sequence.maxTokens > contextTokens) {
      throw new AppError(
        "OUT_OF_RANGE",
        `the request needs more than the ${contextTokens} tokens of context that this worker has`,
        {
          details: { promptTokens: sequence.promptLength, maxTokens: sequence.maxTokens, contextTokens },
        },
      );
    }
    invariant(sequence.state.kind === "waiting" && sequence.tokens.length > 0, "a new sequence waits and has tokens");
    insertByRank(this.#waiting, sequence);
  }

  /** Plans one step. Sequences that `isHeld` keep their pages and sit the step out. */
  schedule(isHeld: (sequence: Sequence) => boolean = () => false): StepPlan {
    const budget = new StepBudget(this.#limits.stepTokens);
    this.#planDecodes(budget, isHeld);
    this.#planChunks(budget, isHeld);
    if (!budget.hasPreempted) this.#admit(budget);
    return budget.plan();
  }

  /** Records that planned rows were computed and, if they drew one, which token came out. */
  advance(rows: PlannedRows, drawn?: number): void {
    const { sequence } = rows;
    const computed = rows.start + rows.count;
    invariant(rows.draws === (drawn !== undefined), "the newest token's row draws the next, no other does");
    sequence.state = transition(sequence.state, { kind: "advanced", computed, length: sequence.tokens.length });
    this.#cache.commit(sequence.pages, sequence.hashes, computed);
    if (drawn !== undefined) sequence.tokens.push(drawn);
  }

  /** Takes a sequence out. `trusted` false: what it computed is never reused. */
  end(sequence: Sequence, trusted = true): void {
    if (sequence.state.kind === "waiting") remove(this.#waiting, sequence);
    else {
      remove(this.#running, sequence);
      if (trusted) this.#cache.close(sequence.pages);
      else this.#cache.discard(sequence.pages);
    }
    sequence.state = transition(sequence.state, { kind: "ended" });
  }

  /** Asserts the cache's invariant for the running sequences, and for `others` that hold pages of the same cache. */
  checkIntegrity(others: readonly Sequence["pages"][] = []): void {
    this.#cache.checkIntegrity([...this.#running.map((sequence) => sequence.pages), ...others]);
    invariant(this.#running.length <= this.#limits.maxSequences, "no more run than may");
    invariant(
      this.#waiting.every((sequence) => sequence.state.kind === "waiting"),
      "those that wait are in the state of waiting",
    );
    for (const list of [this.#running, this.#waiting]) {
      invariant(
        list.every((sequence, index) => index === 0 || compareRank(list[index - 1] ?? sequence, sequence) < 0),
        "lists are in the order of rank",
      );
    }
  }

  #planDecodes(budget: StepBudget, isHeld: (sequence: Sequence) => boolean): void {
    for (const sequence of [...this.#running]) {
      if (sequence.state.kind !== "decoding" || isHeld(sequence)) continue;
      if (this.#reserve(sequence, sequence.tokens.length, budget)) take(budget, sequence, 1);
    }
  }

  #planChunks(budget: StepBudget, isHeld: (sequence: Sequence) => boolean): void {
    for (const sequence of [...this.#running]) {
      if (budget.left === 0) return;
      if (sequence.state.kind !== "prefilling" || isHeld(sequence)) continue;
      const count = this.#chunk(sequence, budget);
      if (this.#reserve(sequence, sequence.computed + count, budget)) take(budget, sequence, count);
    }
  }

  /**
   * First come, first served: a sequence that does not fit yet holds up those behind it, or it might never fit. Only one that waits
   * for its prefix lets them pass.
   */
  #admit(budget: StepBudget): void {
    let place = 0;
    for (let next = this.#waiting[0]; next !== undefined && budget.left > 0; next = this.#waiting[place]) {
      if (this.#isPrefixUnderWay(next)) place += 1;
      else if (!this.#start(next, budget)) return;
    }
  }

  /** Whether one that goes first is about to compute what this one begins with, such as another choice of the same request. */
  #isPrefixUnderWay(sequence: Sequence): boolean {
    if (!sequence.reusePrefix) return false;
    const fullBlocks = (tokens: number) => Math.floor(tokens / this.#cache.pageTokens);
    return this.#running.some((other) => {
      if (other.state.kind !== "prefilling" || compareRank(other, sequence) > 0) return false;
      const block = other.pages.publishedBlocks;
      if (block >= fullBlocks(other.tokens.length) || block >= fullBlocks(sequence.tokens.length - 1)) return false;
      const hash = sequence.hashes.at(block);
      return hash === other.hashes.at(block) && !this.#cache.full.has(hash);
    });
  }

  #start(sequence: Sequence, budget: StepBudget): boolean {
    while (this.#running.length >= this.#limits.maxSequences) {
      if (!this.#preemptLessUrgent(sequence, budget)) return false;
    }
    const options = { hashes: sequence.hashes, tokens: sequence.tokens.length, reuse: sequence.reusePrefix };
    const pages = this.#cache.open(options);
    const count = Math.min(sequence.tokens.length - pages.cachedTokens, this.#limits.prefillChunkTokens, budget.left);
    for (;;) {
      const promised = this.#promisedPages();
      const needed = this.#cache.blocksFor(sequence.tokens.length) - pages.full.length;
      if (needed + promised <= this.#cache.full.available && this.#cache.reserve(pages, pages.cachedTokens + count)) break;
      if (this.#preemptLessUrgent(sequence, budget)) continue;
      this.#cache.close(pages);
      return false;
    }
    remove(this.#waiting, sequence);
    sequence.state = transition(sequence.state, { kind: "admitted", pages });
    insertByRank(this.#running, sequence);
    take(budget, sequence, count);
    return true;
  }

  /** Pages that prompts under way will still ask for: a new sequence may not take them away. */
  #promisedPages(): number {
    return this.#running.reduce((sum, sequence) => {
      const missing = this.#cache.blocksFor(sequence.tokens.length) - sequence.pages.full.length;
      return sum + Math.max(0, missing);
    }, 0);
  }

  /** Covers the positions before `tokens`, at the cost of sequences of lower rank; false when the sequence itself had to go. */
  #reserve(sequence: Sequence, tokens: number, budget: StepBudget): boolean {
    if (sequence.state.kind === "waiting") return false;
    while (!this.#cache.reserve(sequence.pages, tokens)) {
      const last = this.#running.at(-1);
      invariant(last !== undefined && (last !== sequence || this.#running.length > 1), "one sequence alone always fits");
      this.#preempt(last, budget);
      if (last === sequence) return false;
    }
    return true;
  }

  #preemptLessUrgent(sequence: Sequence, budget: StepBudget): boolean {
    const last = this.#running.at(-1);
    if (last === undefined || last.priority <= sequence.priority) return false;
    this.#preempt(last, budget);
    return true;
  }

  #preempt(sequence: Sequence, budget: StepBudget): void {
    remove(this.#running, sequence);
    this.#cache.close(sequence.pages);
    sequence.state = transition(sequence.state, { kind: "preempted" });
    insertByRank(this.#waiting, sequence);
    budget.giveBack(sequence);
  }

  #chunk(sequence: Sequence, budget: StepBudget): number {
    return Math.min(sequence.pending, this.#limits.prefillChunkTokens, budget.left);
  }
}

function take(budget: StepBudget, sequence: Sequence, count: number): void {
  budget.take({ sequence, start: sequence.computed, count, draws: sequence.computed + count === sequence.tokens.length });
}

function insertByRank(list: Sequence[], sequence: Sequence): void {
  const index = list.findIndex((other) => compareRank(sequence, other) < 0);
  list.splice(index < 0 ? list.length : index, 0, sequence);
}

function remove(list: Sequence[], sequence: Sequence): void {
  const index = list.indexOf(sequence);
  invariant(index >= 0, "the sequence is in the list");
  list.splice(index, 1);
}
