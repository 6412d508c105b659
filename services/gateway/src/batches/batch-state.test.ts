import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BatchEvent, type BatchState, batchDocumentSchema, isEnded, startOfBatch, transition } from "./batch-state.js";

const atMs = fc.integer({ min: 1, max: 1e9 });
const event: fc.Arbitrary<BatchEvent> = fc.oneof(
  fc.record({ kind: fc.constant("validated" as const), total: fc.nat(9), atMs }),
  fc.record({ kind: fc.constant("faulty" as const), faults: fc.constant([{ code: "c", message: "m" }]), atMs }),
  fc.record({ kind: fc.constant("recorded" as const), atMs }),
  fc.record({ kind: fc.constant("expire" as const), atMs }),
  fc.record({ kind: fc.constant("cancel" as const), atMs }),
  fc.record({ kind: fc.constant("filed" as const), results: fc.record({ unfinished: fc.nat(9) }), atMs }),
);
const run = (events: readonly BatchEvent[]): BatchState[] => {
  const states: BatchState[] = [{ status: "validating" }];
  for (const each of events) states.push(transition(states.at(-1) ?? { status: "validating" }, each));
  return states;
};

describe("a batch", () => {
  it.each<[string, BatchEvent["kind"][], string]>([
    ["runs to its end", ["validated", "recorded", "filed"], "validating in_progress finalizing completed"],
    ["fails when its input is at fault", ["faulty", "filed"], "validating failed failed"],
    ["expires while it runs", ["validated", "expire", "filed"], "validating in_progress finalizing expired"],
    ["expires before it runs", ["expire", "recorded", "filed"], "validating finalizing finalizing expired"],
    [
      "is cancelled while it runs",
      ["validated", "cancel", "recorded", "filed"],
      "validating in_progress cancelling cancelling cancelled",
    ],
    ["is cancelled before it runs", ["cancel", "validated", "filed"], "validating cancelling cancelling cancelled"],
    [
      "is not cancelled once its files are written",
      ["validated", "recorded", "cancel"],
      "validating in_progress finalizing finalizing",
    ],
  ])("%s", (_, kinds, expected) => {
    const extra = { total: 3, faults: [], results: { unfinished: 0 } };
    const events = kinds.map((kind, index) => ({ kind, atMs: index + 1, ...extra }) as BatchEvent);
    expect(
      run(events)
        .map(({ status }) => status)
        .join(" "),
    ).toBe(expected);
  });

  it("ends once and for all, keeps its start, and is stored as it is", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), (events) => {
        const states = run(events);
        for (const [index, state] of states.entries()) {
          const before = states[index - 1];
          if (before && isEnded(before)) expect(state).toBe(before);
          if (before && startOfBatch(before)) expect(startOfBatch(state)).toMatchObject({ ...pick(startOfBatch(before)) });
          expect(batchDocumentSchema.shape.state.parse(JSON.parse(JSON.stringify(state)))).toEqual(state);
        }
      }),
    );
  });
});

const pick = (start: ReturnType<typeof startOfBatch>) => ({ total: start?.total, startedAtMs: start?.startedAtMs });
