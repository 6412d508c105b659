import type { CallOwner, WaitingCall } from "./call.js";

export interface CallQueueLimits {
  readonly maxCalls: number;
  /** Of the rows of waiting calls, both ways. One call is taken whatever its size. */
  readonly maxBytes: number;
}

/** Calls in the order of their arrival, bounded by number and bytes. */
export class CallQueue {
  readonly #limits: CallQueueLimits;
  #calls: WaitingCall[] = [];
  #bytes = 0;

  constructor(limits: CallQueueLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#calls.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns false, and keeps nothing, when the queue is full. */
  push(call: WaitingCall): boolean {
    const { maxCalls, maxBytes } = this.#limits;
    if (this.#calls.length >= maxCalls) return false;
    if (this.#calls.length > 0 && this.#bytes + call.bytes > maxBytes) return false;
    this.#calls.push(call);
    this.#bytes += call.bytes;
    return true;
  }

  /** Takes the oldest call and, in order, the others of its layer that fit into `maxPairs` with it; empty when nothing waits. */
  takeBatch(maxPairs: number): WaitingCall[] {
    const [oldest] = this.#calls;
    if (oldest === undefined) return [];
    if (this.#calls.length === 1) {
      this.#calls = [];
      this.#bytes = 0;
      return [oldest];
    }
    const batch: WaitingCall[] = [];
    let room = Math.max(maxPairs, oldest.pairExperts.length);
    const left = this.#calls.filter((call) => {
      if (call.layer !== oldest.layer || call.pairExperts.length > room) return true;
      room -= call.pairExperts.length;
      batch.push(call);
      return false;
    });
    this.#keep(left);
    return batch;
  }

  /** Forgets the calls of a link that is gone. Returns how many. */
  drop(owner: CallOwner): number {
    const left = this.#calls.filter((call) => call.owner !== owner);
    const dropped = this.#calls.length - left.length;
    this.#keep(left);
    return dropped;
  }

  #keep(calls: WaitingCall[]): void {
    this.#calls = calls;
    this.#bytes = calls.reduce((sum, call) => sum + call.bytes, 0);
  }
}
