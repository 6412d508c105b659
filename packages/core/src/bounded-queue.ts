import { invariant } from "./invariant.js";

/** First in, first out, with a bound that the caller sees: a full queue refuses, it never grows. */
export class BoundedQueue<T> {
  readonly capacity: number;
  #items: (T | undefined)[] = [];
  #head = 0;

  constructor(capacity: number) {
    invariant(Number.isInteger(capacity) && capacity > 0, "a queue's capacity is a positive integer");
    this.capacity = capacity;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** Returns false, and keeps nothing, when the queue is full. */
  push(item: T): boolean {
    if (this.size >= this.capacity) return false;
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes out, in order, every item that `matches` accepts. */
  takeWhere(matches: (item: T) => boolean): T[] {
    const waiting = this.#items.slice(this.#head) as T[];
    this.#items = waiting.filter((item) => !matches(item));
    this.#head = 0;
    return waiting.filter(matches);
  }
}
