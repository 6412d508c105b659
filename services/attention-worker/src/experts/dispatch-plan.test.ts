import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planDispatches, type RowChoices } from "./dispatch-plan.js";

const PER_TOKEN = 4;

/** Rows with distinct choices each, and who holds which expert. */
const planCase = fc
  .record({
    rows: fc.nat({ max: 40 }),
    experts: fc.integer({ min: PER_TOKEN, max: 16 }),
    workers: fc.integer({ min: 1, max: 5 }),
  })
  .chain(({ rows, experts, workers }) =>
    fc.record({
      choices: fc.array(
        fc.shuffledSubarray(
          Array.from({ length: experts }, (_, expert) => expert),
          { minLength: PER_TOKEN, maxLength: PER_TOKEN },
        ),
        { minLength: rows, maxLength: rows },
      ),
      holders: fc.array(fc.subarray(Array.from({ length: workers }, (_, worker) => worker)), {
        minLength: experts,
        maxLength: experts,
      }),
      loads: fc.array(fc.nat({ max: 50 }), { minLength: workers, maxLength: workers }),
      maxRows: fc.integer({ min: 1, max: 50 }),
    }),
  );

function choicesOf(lists: readonly (readonly number[])[]): RowChoices {
  const experts = lists.flat();
  const rows = experts.map((_, slot) => Math.floor(slot / PER_TOKEN));
  return { rows, experts, slots: experts.map((_, slot) => slot) };
}

describe("a dispatch plan", () => {
  it("covers every slot exactly once, with its own row and expert", () => {
    fc.assert(
      fc.property(planCase, ({ choices, holders, loads, maxRows }) => {
        const given = choicesOf(choices);
        const plan = planDispatches(given, {
          candidates: (expert) => holders[expert] ?? [],
          load: (worker) => loads[worker] ?? 0,
          maxRows,
        });
        const slots = plan.flatMap((dispatch) => [...dispatch.slots]).sort((left, right) => left - right);
        expect(slots).toEqual(given.slots);
        for (const dispatch of plan) {
          dispatch.slots.forEach((slot, pair) => {
            expect(dispatch.rows[dispatch.pairRows[pair] ?? -1]).toBe(given.rows[slot]);
            expect(dispatch.experts[pair]).toBe(given.experts[slot]);
          });
        }
      }),
    );
  });

  it("sends a row at most once to each worker, and only to holders of its experts", () => {
    fc.assert(
      fc.property(planCase, ({ choices, holders, loads, maxRows }) => {
        const plan = planDispatches(choicesOf(choices), {
          candidates: (expert) => holders[expert] ?? [],
          load: (worker) => loads[worker] ?? 0,
          maxRows,
        });
        const sent = plan.flatMap(({ target, rows }) => [...rows].map((row) => `${target}/${row}`));
        expect(new Set(sent).size).toBe(sent.length);
        for (const { target, rows, experts } of plan) {
          expect(rows.length).toBeLessThanOrEqual(maxRows);
          for (const expert of experts) {
            const list = holders[expert] ?? [];
            expect(target === undefined ? list.length === 0 : list.includes(target)).toBe(true);
          }
        }
      }),
    );
  });

  it("prefers the replica with the fewest rows outstanding and planned", () => {
    const choices = { rows: [0, 0, 1, 1], experts: [0, 1, 0, 1], slots: [0, 1, 2, 3] };
    const plan = planDispatches(choices, {
      candidates: () => ["busy", "idle"],
      load: (name) => (name === "busy" ? 9 : 0),
      maxRows: 8,
    });
    expect(plan.map(({ target }) => target)).toEqual(["idle"]);
    const even = planDispatches(choices, { candidates: () => ["first", "second"], load: () => 0, maxRows: 8 });
    expect(new Set(even.map(({ target }) => target)).size).toBe(2);
  });
});
