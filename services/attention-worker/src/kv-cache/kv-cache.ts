import { invariant } from "@moiety/core";
import type { BlockHashes } from "./block-hashes.js";
import { Int32List } from "./int32-list.js";
import { PagePool } from "./page-pool.js";

export interface KvCacheOptions {
  /** Positions per page. */
  readonly pageTokens: number;
  readonly fullPages: number;
  readonly slidingPages: number;
  /** Positions that a query of a sliding layer sees, its own included. */
  readonly slidingWindow: number;
}

/** The pages of one sequence. Block i holds positions `i*pageTokens ..`. */
export interface PageTable {
  readonly full: Int32List;
  /** From block `slidingFirstBlock` on: earlier ones have left the window. */
  readonly sliding: Int32List;
  slidingFirstBlock: number;
  /** Leading blocks that are published already, or came from the cache. */
  publishedBlocks: number;
  /** Tokens whose keys and values were found in the cache. */
  readonly cachedTokens: number;
}

export interface OpenOptions {
  readonly hashes: BlockHashes;
  /** Tokens of the sequence; at least one of them is left to compute. */
  readonly tokens: number;
  /** False: nothing is taken from the cache, every position is computed. */
  readonly reuse: boolean;
}

/**
 * Which page holds which positions of which sequence, in the pool of the full layers and in that of the sliding layers, and
 * what of it later sequences may share. Knows nothing of the memory behind a page.
 */
export class KvCache {
  readonly pageTokens: number;
  readonly full: PagePool;
  readonly sliding: PagePool;
  readonly #window: number;

  constructor(options: KvCacheOptions) {
    invariant(options.pageTokens > 0 && options.slidingWindow > 0, "page and window hold at least one position");
    this.pageTokens = options.pageTokens;
    this.full = new PagePool(options.fullPages);
    this.sliding = new PagePool(options.slidingPages);
    this.#window = options.slidingWindow;
  }

  /** Positions that the full layers can hold: the longest sequence that ever fits. */
  get capacityTokens(): number {
    return this.full.pages * this.pageTokens;
  }

  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.pageTokens);
  }

  /** Starts a sequence on the longest prefix that both pools still hold. */
  open(options: OpenOptions): PageTable {
    const blocks = options.reuse ? this.#matchingBlocks(options.hashes, Math.floor((options.tokens - 1) / this.pageTokens)) : 0;
    const slidingFirstBlock = this.#firstVisibleBlock(blocks * this.pageTokens);
    const full = new Int32List();
    const sliding = new Int32List();
    for (let block = 0; block < blocks; block++) full.push(this.full.acquire(options.hashes.at(block)));
    for (let block = slidingFirstBlock; block < blocks; block++) sliding.push(this.sliding.acquire(options.hashes.at(block)));
    return { full, sliding, slidingFirstBlock, publishedBlocks: blocks, cachedTokens: blocks * this.pageTokens };
  }

  /** Makes the table cover positions `0 .. tokens-1`. Returns false, and takes nothing, when either pool lacks the pages. */
  reserve(table: PageTable, tokens: number): boolean {
    const blocks = this.blocksFor(tokens);
    const fullMissing = blocks - table.full.length;
    const slidingMissing = blocks - (table.slidingFirstBlock + table.sliding.length);
    if (fullMissing > this.full.available || slidingMissing > this.sliding.available) return false;
    for (let taken = 0; taken < fullMissing; taken++) table.full.push(allocated(this.full));
    for (let taken = 0; taken < slidingMissing; taken++) table.sliding.push(allocated(this.sliding));
    return true;
  }

  /**
   * After positions `0 .. computedTokens-1` were written: publishes the blocks that are now full, and lets go of the sliding
   * blocks that no later query sees.
   */
  commit(table: PageTable, hashes: BlockHashes, computedTokens: number): void {
    const fullBlocks = Math.floor(computedTokens / this.pageTokens);
    for (let block = table.publishedBlocks; block < fullBlocks; block++) {
      const hash = hashes.at(block);
      this.full.publish(at(table.full, block), hash);
      this.sliding.publish(at(table.sliding, block - table.slidingFirstBlock), hash);
    }
    table.publishedBlocks = Math.max(table.publishedBlocks, fullBlocks);
    const firstVisible = Math.min(this.#firstVisibleBlock(computedTokens), table.slidingFirstBlock + table.sliding.length);
    const gone = firstVisible - table.slidingFirstBlock;
    if (gone <= 0) return;
    for (const page of table.sliding.view(0, gone)) this.sliding.release(page);
    table.sliding.dropFirst(gone);
    table.slidingFirstBlock = firstVisible;
  }

  /** Lets go of all pages; what is published stays findable, the end of the sequence being evicted first. */
  close(table: PageTable): void {
    for (const page of table.full.view().toReversed()) this.full.release(page);
    for (const page of table.sliding.view().toReversed()) this.sliding.release(page);
    table.full.dropFirst(table.full.length);
    table.sliding.dropFirst(table.sliding.length);
  }

  /** Like {@link close}, and nothing that the sequence could see is ever found again: its values are not to be trusted. */
  discard(table: PageTable): void {
    for (const page of table.full.view()) this.full.retract(page);
    for (const page of table.sliding.view()) this.sliding.retract(page);
    this.close(table);
  }

  /** Asserts that the tables are all there are and that every page is exactly one of free, cached and referenced. */
  checkIntegrity(tables: readonly PageTable[]): void {
    this.full.checkIntegrity(tables.flatMap((table) => [...table.full.view()]));
    this.sliding.checkIntegrity(tables.flatMap((table) => [...table.sliding.view()]));
    for (const table of tables) {
      invariant(table.slidingFirstBlock + table.sliding.length === table.full.length, "both pools cover the same blocks");
      invariant(table.publishedBlocks <= table.full.length, "only blocks with pages are published");
    }
  }

  /** A hit needs every full block before it and the sliding blocks that the first query after it sees. */
  #matchingBlocks(hashes: BlockHashes, limit: number): number {
    let blocks = 0;
    while (blocks < limit && this.full.has(hashes.at(blocks))) blocks += 1;
    while (blocks > 0) {
      const first = this.#firstVisibleBlock(blocks * this.pageTokens);
      let block = blocks - 1;
      while (block >= first && this.sliding.has(hashes.at(block))) block -= 1;
      if (block < first) return blocks;
      blocks = block;
    }
    return 0;
  }

  /** The block of the first position that the query at `position` sees in a sliding layer. */
  #firstVisibleBlock(position: number): number {
    return Math.floor(Math.max(0, position - this.#window + 1) / this.pageTokens);
  }
}

function allocated(pool: PagePool): number {
  const page = pool.allocate();
  invariant(page !== undefined, "availability was checked");
  return page;
}

function at(list: Int32List, index: number): number {
  const page = list.at(index);
  invariant(page !== undefined, `block ${index} has a page`);
  return page;
}
