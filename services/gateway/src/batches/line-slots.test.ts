import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineSlots } from "./line-slots.js";

const never = new AbortController().signal;
const slots = (count: number, live: { waiting: number } = { waiting: 0 }) =>
  new LineSlots({ count, liveWaiting: async () => live.waiting, clock: systemClock, lookMs: 1 });

describe("slots for lines", () => {
  it("are never more than there are, and none is lost, whoever gives up", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(fc.boolean(), { maxLength: 20 }), async (count, patient) => {
        const pool = slots(count);
        let held = 0;
        const takers = patient.map(async (stays) => {
          const signal = stays ? never : AbortSignal.timeout(1);
          try {
            const release = await pool.take(signal);
            held += 1;
            expect(held).toBeLessThanOrEqual(count);
            await sleep(1);
            held -= 1;
            release();
            release();
          } catch (error) {
            expect(stays).toBe(false);
            expect(error).toBe(signal.reason);
          }
        });
        await Promise.all(takers);
        const again = await Promise.all(Array.from({ length: count }, () => pool.take(never)));
        expect(again).toHaveLength(count);
        await expect(pool.take(AbortSignal.timeout(1))).rejects.toThrow();
      }),
      { numRuns: 20 },
    );
  });

  it("go to batches in turn", async () => {
    const pool = slots(1);
    const order: string[] = [];
    const batch = async (name: string) => {
      for (let line = 0; line < 3; line++) {
        const release = await pool.take(never);
        order.push(name);
        await sleep(1);
        release();
      }
    };
    await Promise.all([batch("a"), batch("b")]);
    expect(order.join("")).toBe("ababab");
  });

  it("are as many as a line asks for completions, and none passes one that waits for many", async () => {
    const pool = slots(4);
    const order: string[] = [];
    const take = async (name: string, choices: number, signal = never) => {
      const release = await pool.take(signal, choices);
      order.push(name);
      return release;
    };
    const first = await take("two", 2);
    const many = take("more than there are", 99);
    const last = take("one", 1);
    const impatient = take("impatient", 4, AbortSignal.timeout(5));
    await expect(impatient).rejects.toThrow();
    expect(order).toEqual(["two"]);
    first();
    const all = await many;
    expect(order).toEqual(["two", "more than there are"]);
    all();
    (await last)();
    expect(order).toEqual(["two", "more than there are", "one"]);
  });

  it("wait while live requests do", async () => {
    const live = { waiting: 2 };
    const pool = slots(1, live);
    let taken = false;
    const taking = pool.take(never).then(() => {
      taken = true;
    });
    await sleep(20);
    expect(taken).toBe(false);
    live.waiting = 0;
    await taking;
    expect(taken).toBe(true);
  });
});
