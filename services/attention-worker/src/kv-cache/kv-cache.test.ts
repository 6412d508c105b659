import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BlockHashes } from "./block-hashes.js";
import { Int32List } from "./int32-list.js";
import { KvCache, type PageTable } from "./kv-cache.js";

const pageTokens = 4;

interface Open {
  readonly table: PageTable;
  readonly hashes: BlockHashes;
  readonly tokens: number[];
  computed: number;
}

function open(cache: KvCache, tokens: number[], salt = "", reuse = true): Open {
  const hashes = new BlockHashes(salt, new Int32List(tokens), pageTokens);
  const table = cache.open({ hashes, tokens: tokens.length, reuse });
  return { table, hashes, tokens, computed: table.cachedTokens };
}

function compute(cache: KvCache, sequence: Open, upTo: number): boolean {
  if (!cache.reserve(sequence.table, upTo)) return false;
  cache.commit(sequence.table, sequence.hashes, upTo);
  sequence.computed = upTo;
  return true;
}

const range = (length: number) => Array.from({ length }, (_, index) => index);

describe("KvCache", () => {
  it("finds a computed prefix again, but leaves one token to compute", () => {
    const cache = new KvCache({ pageTokens, fullPages: 16, slidingPages: 16, slidingWindow: 6 });
    const first = open(cache, range(16));
    expect(compute(cache, first, 16)).toBe(true);
    cache.close(first.table);
    expect(open(cache, range(16)).table.cachedTokens).toBe(12);
    expect(open(cache, range(17)).table.cachedTokens).toBe(16);
    expect(open(cache, [...range(10), 99, 98, 97]).table.cachedTokens).toBe(8);
  });

  it("shares nothing between salts, and nothing when reuse is off", () => {
    const cache = new KvCache({ pageTokens, fullPages: 16, slidingPages: 16, slidingWindow: 6 });
    const first = open(cache, range(16), "a");
    compute(cache, first, 16);
    expect(open(cache, range(16), "b").table.cachedTokens).toBe(0);
    expect(open(cache, range(16), "a", false).table.cachedTokens).toBe(0);
    expect(open(cache, range(16), "a").table.cachedTokens).toBe(12);
  });

  it.each([
    { window: 1, keeps: 0 },
    { window: 4, keeps: 1 },
    { window: 5, keeps: 1 },
    { window: 6, keeps: 2 },
    { window: 9, keeps: 2 },
    { window: 10, keeps: 3 },
  ])("keeps of a window of $window the $keeps blocks that the query at 12 sees", ({ window, keeps }) => {
    const cache = new KvCache({ pageTokens, fullPages: 16, slidingPages: 16, slidingWindow: window });
    const sequence = open(cache, range(16));
    compute(cache, sequence, 12);
    expect(sequence.table.sliding.length).toBe(keeps);
    expect(sequence.table.slidingFirstBlock).toBe(3 - keeps);
  });

  it("hits a shorter prefix when the sliding blocks of the longer one were evicted", () => {
    const cache = new KvCache({ pageTokens, fullPages: 32, slidingPages: 6, slidingWindow: 8 });
    const first = open(cache, range(24));
    for (let upTo = 4; upTo <= 24; upTo += 4) compute(cache, first, upTo);
    cache.close(first.table);
    const other = open(
      cache,
      range(8).map((token) => token + 100),
    );
    compute(cache, other, 8);
    const again = open(cache, range(24));
    expect(again.table.cachedTokens).toBeLessThan(24);
    cache.checkIntegrity([other.table, again.table]);
  });

  it("never finds again what was discarded", () => {
    const cache = new KvCache({ pageTokens, fullPages: 16, slidingPages: 16, slidingWindow: 6 });
    const first = open(cache, range(16));
    compute(cache, first, 16);
    cache.discard(first.table);
    expect(open(cache, range(16)).table.cachedTokens).toBe(0);
  });

  it("evicts the end of a sequence before its beginning", () => {
    const cache = new KvCache({ pageTokens, fullPages: 4, slidingPages: 8, slidingWindow: 64 });
    const first = open(cache, range(16));
    compute(cache, first, 16);
    cache.close(first.table);
    const other = open(cache, [70, 71, 72, 73, 74]);
    compute(cache, other, 5);
    expect(open(cache, range(16)).table.cachedTokens).toBe(8);
  });

  it("keeps every page in one state and every visible position under one page, whatever happens", () => {
    const command = fc.oneof(
      fc.record({
        kind: fc.constant("open" as const),
        length: fc.integer({ min: 1, max: 40 }),
        variant: fc.nat(3),
        salt: fc.nat(1),
      }),
      fc.record({ kind: fc.constant("compute" as const), which: fc.nat(20), count: fc.integer({ min: 1, max: 12 }) }),
      fc.record({ kind: fc.constant("close" as const), which: fc.nat(20) }),
      fc.record({ kind: fc.constant("discard" as const), which: fc.nat(20) }),
    );
    const sizes = fc.record({
      full: fc.integer({ min: 2, max: 24 }),
      sliding: fc.integer({ min: 2, max: 16 }),
      window: fc.integer({ min: 1, max: 14 }),
    });
    fc.assert(
      fc.property(sizes, fc.array(command, { maxLength: 80 }), ({ full, sliding, window }, commands) => {
        const cache = new KvCache({ pageTokens, fullPages: full, slidingPages: sliding, slidingWindow: window });
        const content = { full: new Map<number, string>(), sliding: new Map<number, string>() };
        const sequences: Open[] = [];
        for (const step of commands) {
          if (step.kind === "open") {
            const tokens = range(step.length).map((index) => (index < 9 ? 0 : step.variant));
            const opened = open(cache, tokens, String(step.salt));
            expect(opened.table.cachedTokens).toBeLessThan(step.length);
            expectContent(opened, content);
            sequences.push(opened);
          } else {
            const [sequence] = sequences.splice(step.which % Math.max(1, sequences.length), 1);
            if (sequence === undefined) continue;
            if (step.kind === "compute") {
              const upTo = Math.min(sequence.tokens.length, sequence.computed + step.count);
              if (upTo > sequence.computed && cache.reserve(sequence.table, upTo)) {
                write(sequence, content);
                expectVisible(sequence, window);
                cache.commit(sequence.table, sequence.hashes, upTo);
                sequence.computed = upTo;
              }
              sequences.push(sequence);
            } else cache[step.kind](sequence.table);
          }
          cache.checkIntegrity(sequences.map(({ table }) => table));
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** Remembers, as the memory behind the pages would, what each page that a step writes holds. */
function write({ table, tokens, hashes, computed }: Open, content: { full: Map<number, string>; sliding: Map<number, string> }) {
  const label = (block: number) => ((block + 1) * pageTokens <= tokens.length ? hashes.at(block) : `partial ${block}`);
  const firstBlock = Math.floor(computed / pageTokens);
  table.full.view().forEach((page, block) => {
    if (block >= firstBlock) content.full.set(page, label(block));
  });
  table.sliding.view().forEach((page, index) => {
    const block = table.slidingFirstBlock + index;
    if (block >= firstBlock) content.sliding.set(page, label(block));
  });
}

function expectContent({ table, hashes }: Open, content: { full: Map<number, string>; sliding: Map<number, string> }) {
  table.full.view().forEach((page, block) => {
    expect(content.full.get(page)).toBe(hashes.at(block));
  });
  table.sliding.view().forEach((page, index) => {
    expect(content.sliding.get(page)).toBe(hashes.at(table.slidingFirstBlock + index));
  });
}

/** The first query of the step sees `computed-window+1`: its block must still be there. */
function expectVisible({ table, computed }: Open, window: number) {
  expect(table.slidingFirstBlock * pageTokens).toBeLessThanOrEqual(Math.max(0, computed - window + 1));
}
