import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CallOwner, WaitingCall } from "./call.js";
import { CallQueue } from "./call-queue.js";

const owner: CallOwner = { answer: () => {} };

function call(callId: number, options: { layer?: number; pairs?: number; bytes?: number; owner?: CallOwner } = {}): WaitingCall {
  const { layer = 0, pairs = 1, bytes = 10 } = options;
  const pairArrays = { pairRows: new Uint16Array(pairs), pairExperts: new Uint16Array(pairs) };
  return {
    owner: options.owner ?? owner,
    callId,
    layer,
    rows: new Uint8Array(),
    ...pairArrays,
    bytes,
    arrivedMs: 0,
    traceContext: new Uint8Array(),
  };
}

describe("the queue of calls", () => {
  it("hands out every call once, the oldest first, one layer at a time, within the bound of pairs", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ layer: fc.nat({ max: 3 }), pairs: fc.integer({ min: 1, max: 30 }) }), { maxLength: 40 }),
        fc.integer({ min: 1, max: 60 }),
        (specs, maxPairs) => {
          const queue = new CallQueue({ maxCalls: 100, maxBytes: 1_000 });
          specs.forEach((spec, callId) => {
            expect(queue.push(call(callId, spec))).toBe(true);
          });
          const left = new Set(specs.map((_, callId) => callId));
          for (let batch = queue.takeBatch(maxPairs); batch.length > 0; batch = queue.takeBatch(maxPairs)) {
            expect(batch[0]?.callId).toBe(Math.min(...left));
            expect(new Set(batch.map(({ layer }) => layer)).size).toBe(1);
            expect(batch.map(({ callId }) => callId)).toEqual(batch.map(({ callId }) => callId).sort((a, b) => a - b));
            const pairs = batch.reduce((sum, { pairExperts }) => sum + pairExperts.length, 0);
            expect(batch.length === 1 || pairs <= maxPairs).toBe(true);
            for (const { callId } of batch) expect(left.delete(callId)).toBe(true);
          }
          expect(left.size).toBe(0);
          expect(queue.bytes).toBe(0);
        },
      ),
    );
  });

  it("refuses beyond its bound of calls and of bytes, but takes one call of any size", () => {
    const few = new CallQueue({ maxCalls: 2, maxBytes: 1_000 });
    expect([few.push(call(1)), few.push(call(2)), few.push(call(3))]).toEqual([true, true, false]);
    const small = new CallQueue({ maxCalls: 10, maxBytes: 25 });
    expect([small.push(call(1, { bytes: 99 })), small.push(call(2, { bytes: 1 }))]).toEqual([true, false]);
    small.takeBatch(1);
    expect([small.push(call(3)), small.push(call(4)), small.push(call(5))]).toEqual([true, true, false]);
  });

  it("forgets the calls of a link that is gone, and only those", () => {
    const queue = new CallQueue({ maxCalls: 10, maxBytes: 1_000 });
    const gone: CallOwner = { answer: () => {} };
    queue.push(call(1, { owner: gone }));
    queue.push(call(2));
    queue.push(call(3, { owner: gone }));
    expect(queue.drop(gone)).toBe(2);
    expect(queue.takeBatch(10).map(({ callId }) => callId)).toEqual([2]);
  });
});
