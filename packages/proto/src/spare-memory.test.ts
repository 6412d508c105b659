import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpareMemory } from "./spare-memory.js";

describe("memory of outgoing messages", () => {
  it("is large enough, aligned, and nobody else's until it is given back", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ bytes: fc.nat({ max: 200_000 }), keep: fc.boolean() }), { maxLength: 60 }), (wants) => {
        const memory = new SpareMemory();
        const held: { readonly block: Buffer; readonly mark: number }[] = [];
        wants.forEach(({ bytes, keep }, mark) => {
          const block = memory.take(bytes);
          expect(block.length).toBeGreaterThanOrEqual(bytes);
          expect(block.byteOffset % 64).toBe(0);
          block.fill(mark);
          if (keep) held.push({ block, mark });
          else memory.giveBack(block);
        });
        for (const { block, mark } of held) expect(block.every((byte) => byte === mark)).toBe(true);
      }),
    );
  });

  it("is used again, and kept within a bound", () => {
    const memory = new SpareMemory();
    const first = memory.take(100_000);
    memory.giveBack(first);
    expect(memory.take(70_000)).toBe(first);
    const many = Array.from({ length: 40 }, () => memory.take(4 * 1024 * 1024));
    for (const block of many) memory.giveBack(block);
    expect(memory.spareBytes).toBe(64 * 1024 * 1024);
  });
});
