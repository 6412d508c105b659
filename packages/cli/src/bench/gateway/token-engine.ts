import type { Claim } from "@moiety/queue";
import { nowMs } from "./stream-prompt.js";

/** A letter, in every byte-level vocabulary. */
export const TOKEN = 40;

/**
 * Streams that get their tokens in the same moment, as the sequences of one attention worker's step do. A stream's tokens are appended
 * one per interval, not waiting for Redis.
 */
export class TokenEngine {
  readonly #claims = new Map<Claim, { readonly appendedMs: number[]; readonly end: () => void }>();
  readonly #onFault: (fault: string) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(onFault: (fault: string) => void) {
    this.#onFault = onFault;
  }

  /** Appends all of a claim's tokens, and returns when. */
  async run(claim: Claim, intervalMs: number): Promise<number[]> {
    const appendedMs: number[] = [];
    const ended = new Promise<void>((end) => this.#claims.set(claim, { appendedMs, end }));
    this.#timer ??= setInterval(() => this.#step(), intervalMs);
    await ended;
    this.#claims.delete(claim);
    if (this.#claims.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    return appendedMs;
  }

  #step(): void {
    for (const [claim, { appendedMs, end }] of this.#claims) {
      if (appendedMs.length >= claim.record.params.maxTokens || claim.signal.aborted) {
        end();
        continue;
      }
      appendedMs.push(nowMs());
      claim.append(appendedMs.length - 1, [{ token: TOKEN }]).catch((error: unknown) => this.#onFault(String(error)));
    }
  }
}
