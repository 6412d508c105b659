/** Integers that grow at the end and shrink at the front, readable as one array without a copy. */
export class Int32List {
  #values: Int32Array;
  #start = 0;
  #end = 0;

  constructor(initial: ArrayLike<number> = []) {
    this.#values = new Int32Array(Math.max(16, initial.length * 2));
    this.#values.set(initial);
    this.#end = initial.length;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** The value at `index`; undefined beyond the end. */
  at(index: number): number | undefined {
    return index >= 0 && index < this.length ? this.#values[this.#start + index] : undefined;
  }

  push(value: number): void {
    if (this.#end === this.#values.length) this.#grow();
    this.#values[this.#end] = value;
    this.#end += 1;
  }

  /** Drops the first `count` values. */
  dropFirst(count: number): void {
    this.#start += Math.min(count, this.length);
  }

  /** The values `from .. to-1`; valid until the next change of the list. */
  view(from = 0, to = this.length): Int32Array {
    return this.#values.subarray(this.#start + from, this.#start + Math.min(to, this.length));
  }

  #grow(): void {
    const live = this.view();
    const target = live.length * 2 > this.#values.length ? new Int32Array(this.#values.length * 2) : this.#values;
    target.set(live);
    this.#values = target;
    this.#end = live.length;
    this.#start = 0;
  }
}
