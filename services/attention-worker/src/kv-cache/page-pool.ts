import { invariant } from "@moiety/core";

/**
 * Pages of one kind of layer. Each page is in exactly one state:
 *
 * | state      | meaning                                             | leaves when                          |
 * |------------|-----------------------------------------------------|--------------------------------------|
 * | free       | holds nothing                                       | allocated                            |
 * | referenced | sequences use it; has a hash once it is published   | its last reference is released       |
 * | cached     | nobody uses it, its hash may be hit                 | hit, or evicted: longest unused first |
 */
export class PagePool {
  readonly pages: number;
  readonly #free: number[];
  readonly #references: Int32Array;
  readonly #hashOf = new Map<number, string>();
  readonly #pageOf = new Map<string, number>();
  /** In order of release: the first is the first to be evicted. */
  readonly #cached = new Set<number>();

  constructor(pages: number) {
    invariant(Number.isInteger(pages) && pages > 0, "a pool has a positive number of pages");
    this.pages = pages;
    this.#free = Array.from({ length: pages }, (_, index) => pages - 1 - index);
    this.#references = new Int32Array(pages);
  }

  /** Pages that an allocation may take: free ones and cached ones. */
  get available(): number {
    return this.#free.length + this.#cached.size;
  }

  /** Pages that sequences use. */
  get referenced(): number {
    return this.pages - this.available;
  }

  /** A page with one reference, or undefined when every page is referenced. */
  allocate(): number | undefined {
    const page = this.#free.pop() ?? this.#evict();
    if (page === undefined) return undefined;
    this.#references[page] = 1;
    return page;
  }

  has(hash: string): boolean {
    return this.#pageOf.has(hash);
  }

  /** Takes a reference to the page that holds `hash`. */
  acquire(hash: string): number {
    const page = this.#pageOf.get(hash);
    invariant(page !== undefined, "only a published hash is acquired");
    this.#cached.delete(page);
    this.#references[page] = this.#count(page) + 1;
    return page;
  }

  /** Makes a referenced page findable. A hash that another page holds already stays with that page. */
  publish(page: number, hash: string): void {
    invariant(this.#count(page) > 0, "only a referenced page is published");
    if (this.#pageOf.has(hash) || this.#hashOf.has(page)) return;
    this.#hashOf.set(page, hash);
    this.#pageOf.set(hash, page);
  }

  /** Makes a page's content unfindable: it goes back to the free pages when its last reference is released. */
  retract(page: number): void {
    invariant(this.#count(page) > 0, "only a referenced page is retracted");
    this.#forget(page);
  }

  release(page: number): void {
    const count = this.#count(page);
    invariant(count > 0, "only a referenced page is released");
    this.#references[page] = count - 1;
    if (count > 1) return;
    if (this.#hashOf.has(page)) this.#cached.add(page);
    else this.#free.push(page);
  }

  /** Asserts that every page is in exactly one state and has the references that `held` lists, one entry per reference. */
  checkIntegrity(held: Iterable<number>): void {
    const expected = new Int32Array(this.pages);
    for (const page of held) expected[page] = (expected[page] ?? 0) + 1;
    const free = new Set(this.#free);
    invariant(free.size === this.#free.length, "no page is free twice");
    for (let page = 0; page < this.pages; page++) {
      const count = this.#count(page);
      invariant(count === expected[page], `page ${page} has ${count} references, ${expected[page]} expected`);
      const states = Number(free.has(page)) + Number(this.#cached.has(page)) + Number(count > 0);
      invariant(states === 1, `page ${page} is in ${states} states`);
      invariant(!free.has(page) || !this.#hashOf.has(page), `free page ${page} has a hash`);
      invariant(!this.#cached.has(page) || this.#hashOf.has(page), `cached page ${page} has no hash`);
    }
    invariant(this.#hashOf.size === this.#pageOf.size, "hashes and pages pair up");
    for (const [page, hash] of this.#hashOf) invariant(this.#pageOf.get(hash) === page, `hash of page ${page} leads elsewhere`);
  }

  #evict(): number | undefined {
    const [oldest] = this.#cached;
    if (oldest === undefined) return undefined;
    this.#cached.delete(oldest);
    this.#forget(oldest);
    return oldest;
  }

  #forget(page: number): void {
    const hash = this.#hashOf.get(page);
    if (hash === undefined) return;
    this.#hashOf.delete(page);
    this.#pageOf.delete(hash);
  }

  #count(page: number): number {
    const count = this.#references[page];
    invariant(count !== undefined, `page ${page} is not of this pool`);
    return count;
  }
}
