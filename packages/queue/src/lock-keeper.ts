import { AppError, type Clock } from "@moiety/core";
import type { Redis } from "ioredis";
import type { Lock as ClaimLock, ClaimStore } from "./claim-store.js";
import type { HeldClaim } from "./held-claim.js";

export interface LockKeeperOptions {
  readonly store: ClaimStore;
  readonly redis: Redis;
  readonly clock: Clock;
  readonly lockMs: number;
  readonly stalledCheckMs: number;
  readonly onError: (error: AppError) => void;
}

type Lock = Pick<ClaimLock, "jobId" | "token">;

/** Locks renewed by one command. */
const RENEW_LIMIT = 128;

/** After a reconnect, others get so long to take their locks again before their jobs are taken for stalled. */
const GRACE_MS = 1_500;

/** Keeps this consumer's locks alive, and frees the jobs of consumers whose locks ran out. */
export class LockKeeper {
  readonly #options: LockKeeperOptions;
  readonly #locks = new Map<HeldClaim, Lock>();
  #closed = false;
  #hurry = new AbortController();
  #readySinceMs: number;

  constructor(options: LockKeeperOptions) {
    this.#options = options;
    this.#readySinceMs = Number.NEGATIVE_INFINITY;
    let connections = 0;
    options.redis.on("ready", () => {
      connections += 1;
      if (connections === 1) return;
      this.#readySinceMs = options.clock.monotonicMs();
      this.renewSoon();
    });
  }

  /** `freeStalled` moves jobs whose locks ran out back to waiting. */
  start(freeStalled: () => Promise<unknown>): void {
    const { clock, stalledCheckMs, lockMs } = this.#options;
    this.#every(lockMs / 4, () => this.#renewAll());
    this.#every(stalledCheckMs, async () => {
      if (clock.monotonicMs() - this.#readySinceMs < GRACE_MS || this.#options.redis.status !== "ready") return;
      await freeStalled();
    });
  }

  /** Renews until the returned function is called. */
  keep(claim: HeldClaim, lock: Lock): () => void {
    this.#locks.set(claim, lock);
    return () => this.#locks.delete(claim);
  }

  /** Does not wait for the next turn: after a reconnect. */
  renewSoon(): void {
    this.#hurry.abort();
  }

  close(): void {
    this.#closed = true;
    this.#hurry.abort();
    this.#locks.clear();
  }

  #every(intervalMs: number, work: () => Promise<void>): void {
    const loop = async () => {
      while (!this.#closed) {
        try {
          await work();
        } catch (error) {
          if (!this.#closed) this.#options.onError(AppError.from(error, "UNAVAILABLE"));
        }
        if (this.#closed) return;
        await this.#options.clock.sleep(intervalMs, this.#hurry.signal).catch(() => undefined);
        if (this.#hurry.signal.aborted && !this.#closed) this.#hurry = new AbortController();
      }
    };
    loop().catch(() => undefined);
  }

  async #renewAll(): Promise<void> {
    const held = [...this.#locks];
    for (let first = 0; first < held.length; first += RENEW_LIMIT) await this.#renew(held.slice(first, first + RENEW_LIMIT));
  }

  async #renew(held: readonly (readonly [HeldClaim, Lock])[]): Promise<void> {
    const { store, lockMs } = this.#options;
    const locks = held.map(([{ record, fence }, lock]) => ({ id: record.id, fence, ...lock }));
    const answers = await store.renew(locks, lockMs);
    held.forEach(([claim], index) => {
      if (!this.#locks.has(claim)) return;
      const kind = answers[index]?.kind;
      if (kind === "fenced") claim.lost();
      if (kind === "closed") claim.endedElsewhere();
    });
  }
}
