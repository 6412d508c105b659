import { AppError, type Clock } from "@moiety/core";
import type { Logger } from "@moiety/runtime";
import type { Lease } from "./lease.js";

/**
 * | state   | meaning                                                   | leaves when                                            |
 * |---------|-----------------------------------------------------------|--------------------------------------------------------|
 * | standby | another router leads, or none yet                          | it gets the lease: leading                             |
 * | leading | workers join this router                                  | another has led under a greater term: standby          |
 * | closed  | the process stops                                         | never                                                  |
 *
 * A leader that cannot reach Redis goes on: what it does is harmless even if another was elected meanwhile, and stopping is not.
 */
export type ElectionState =
  | { readonly kind: "standby"; readonly leader: string | undefined; readonly fault: AppError | undefined }
  | { readonly kind: "leading"; readonly term: number; readonly confirmedAtMs: number }
  | { readonly kind: "closed" };

export interface ElectionOptions {
  /** Absent: this is the only router, which leads from the beginning, under term 0. */
  readonly lease: Lease | undefined;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called at every change between leading and not; a term is given when this router leads. Never throws. */
  readonly onChange: (term: number | undefined) => void;
}

/** Of the lease's time: how often a leader renews it, and how often a standby looks at it. */
const RENEWALS = 4;
const LOOKS = 8;

/** Competes for the lease, keeps it, and says whether this router leads. */
export class Election {
  readonly #options: ElectionOptions;
  readonly #closing = new AbortController();
  #state: ElectionState = { kind: "standby", leader: undefined, fault: undefined };
  /** The greatest term that was heard of. */
  #knownTerm = 0;
  /** Since when every question has been answered; absent while Redis is away. */
  #answeringSinceMs: number | undefined;
  #running: Promise<void> = Promise.resolve();
  #failures = 0;

  constructor(options: ElectionOptions) {
    this.#options = options;
  }

  get state(): ElectionState {
    return this.#state;
  }

  /** How often the lease could not be asked for or renewed. */
  get failures(): number {
    return this.#failures;
  }

  start(): void {
    const { lease, clock } = this.#options;
    if (lease !== undefined) this.#running = this.#run(lease);
    else this.#lead(0, clock.monotonicMs());
  }

  /** A worker has been welcomed by a router with this term: a leader with a smaller one is none any more. */
  hear(term: number): void {
    const { lease } = this.#options;
    const state = this.#state;
    if (lease === undefined) return;
    this.#knownTerm = Math.max(this.#knownTerm, term);
    if (state.kind !== "leading" || term <= state.term) return;
    this.#stepDown(undefined);
    // Had another been elected it would not be ours; but where Redis has forgotten the terms it is, and a greater one is due.
    lease.giveBack(state.term).catch(() => {});
  }

  /** Lets another router lead at once, if Redis can be told within a part of the lease's time. */
  async close(): Promise<void> {
    const { lease } = this.#options;
    const state = this.#state;
    this.#closing.abort();
    await this.#running;
    this.#state = { kind: "closed" };
    if (lease === undefined) return;
    if (state.kind === "leading") await lease.giveBack(state.term).catch(() => {});
    lease.close();
  }

  async #run(lease: Lease): Promise<void> {
    const { leaseMs, clock } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const pauseMs = this.#state.kind === "leading" ? leaseMs / RENEWALS : leaseMs / LOOKS;
      try {
        await (this.#state.kind === "leading" ? this.#renew(lease, this.#state.term) : this.#take(lease));
      } catch (error) {
        this.#fail(AppError.from(error));
      }
      await clock.sleep(pauseMs, signal).catch(() => {});
    }
  }

  async #take(lease: Lease): Promise<void> {
    const { clock, leaseMs } = this.#options;
    const askedAtMs = clock.monotonicMs();
    this.#answeringSinceMs ??= askedAtMs;
    // A leader that was cut off together with this router gets the time to come back before its lease is taken.
    const evenIfLapsed = askedAtMs - this.#answeringSinceMs >= leaseMs;
    const outcome = await lease.take({ knownTerm: this.#knownTerm, evenIfLapsed });
    this.#knownTerm = Math.max(this.#knownTerm, outcome.term);
    if (outcome.kind !== "taken") {
      this.#state = { kind: "standby", leader: outcome.kind === "held" ? outcome.holder : undefined, fault: undefined };
    } else if (this.#closing.signal.aborted || outcome.term < this.#knownTerm) await lease.giveBack(outcome.term);
    else this.#lead(outcome.term, askedAtMs);
  }

  async #renew(lease: Lease, term: number): Promise<void> {
    const { clock } = this.#options;
    const askedAtMs = clock.monotonicMs();
    const outcome = await lease.renew(term);
    // Meanwhile a worker may have brought the news already.
    if (this.#state.kind !== "leading" || this.#state.term !== term) return;
    if (outcome.kind === "renewed") {
      this.#state = { kind: "leading", term, confirmedAtMs: askedAtMs };
      return;
    }
    this.#knownTerm = Math.max(this.#knownTerm, outcome.term);
    this.#stepDown(outcome.holder === "" ? undefined : outcome.holder);
  }

  #fail(error: AppError): void {
    this.#failures += 1;
    this.#answeringSinceMs = undefined;
    if (this.#state.kind !== "standby") return;
    if (this.#state.fault === undefined) this.#options.logger.warn({ reason: error.message }, "the lease is out of reach");
    this.#state = { ...this.#state, fault: error };
  }

  #lead(term: number, confirmedAtMs: number): void {
    this.#state = { kind: "leading", term, confirmedAtMs };
    this.#options.logger.info({ term }, "this router leads");
    this.#options.onChange(term);
  }

  #stepDown(leader: string | undefined): void {
    this.#state = { kind: "standby", leader, fault: undefined };
    this.#options.logger.warn({ leader, term: this.#knownTerm }, "this router leads no more");
    this.#options.onChange(undefined);
  }
}
