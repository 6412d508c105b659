import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LinkEvent, type LinkState, transition } from "./link-state.js";

const opening: LinkState = { kind: "opening", linkId: "a", attempt: 0, open: undefined };
const follow = (events: readonly LinkEvent[], from: LinkState = opening) => events.reduce(transition, from);

const linkId = fc.constantFrom("a", "b", "c");
const anyEvent: fc.Arbitrary<LinkEvent> = fc.oneof(
  fc.record({
    kind: fc.constant("half-open" as const),
    linkId,
    half: fc.constantFrom("results" as const, "dispatches" as const),
  }),
  fc.record({
    kind: fc.constant("failed" as const),
    linkId,
    reason: fc.string(),
    random: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({ kind: fc.constant("due" as const), linkId }),
  fc.constant({ kind: "close" as const }),
);

describe("a link", () => {
  it("is up when both halves are open, in either order, and not before", () => {
    const results: LinkEvent = { kind: "half-open", linkId: "a", half: "results" };
    const dispatches: LinkEvent = { kind: "half-open", linkId: "a", half: "dispatches" };
    expect(follow([results]).kind).toBe("opening");
    expect(follow([results, results]).kind).toBe("opening");
    expect(follow([results, dispatches]).kind).toBe("up");
    expect(follow([dispatches, results]).kind).toBe("up");
  });

  it("waits longer after each failed opening, within a bound, and starts over once it was up", () => {
    let state: LinkState = opening;
    const delays: number[] = [];
    for (let attempt = 0; attempt < 12; attempt += 1) {
      state = transition(state, { kind: "failed", linkId: "a", reason: "refused", random: 1 });
      if (state.kind === "waiting") delays.push(state.delayMs);
      state = transition(state, { kind: "due", linkId: "a" });
    }
    expect(delays).toEqual([...delays].sort((left, right) => left - right));
    expect(delays[0]).toBe(50);
    expect(delays.at(-1)).toBe(3_000);
    const again = transition({ kind: "up", linkId: "a" }, { kind: "failed", linkId: "a", reason: "lost", random: 0 });
    expect(again).toMatchObject({ kind: "waiting", delayMs: 25, attempt: 1 });
  });

  it("does not hear of an earlier opening", () => {
    const state: LinkState = { kind: "up", linkId: "b" };
    expect(transition(state, { kind: "failed", linkId: "a", reason: "late news", random: 0 })).toBe(state);
    expect(transition(opening, { kind: "half-open", linkId: "z", half: "results" })).toBe(opening);
  });

  it("stays closed whatever happens", () => {
    fc.assert(
      fc.property(fc.array(anyEvent), fc.array(anyEvent), (before, after) => {
        expect(follow([...before, { kind: "close" }, ...after])).toEqual({ kind: "closed" });
      }),
    );
  });

  it("is never up without both halves of the same opening", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 30 }), (events) => {
        let state: LinkState = opening;
        let heard = new Set<string>();
        for (const event of events) {
          const next = transition(state, event);
          if (next.kind === "opening" && state.kind !== "opening") heard = new Set();
          if (event.kind === "half-open" && "linkId" in state && event.linkId === state.linkId) heard.add(event.half);
          if (next.kind === "up") expect(heard.size).toBe(2);
          state = next;
        }
      }),
    );
  });
});
