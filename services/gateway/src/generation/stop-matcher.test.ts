import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopMatcher } from "./stop-matcher.js";

function run(stops: readonly string[], pieces: readonly string[]): { text: string; match: string | undefined } {
  const matcher = new StopMatcher(stops);
  let text = "";
  for (const piece of pieces) {
    const step = matcher.push(piece);
    text += step.text;
    if (step.match !== undefined) return { text, match: step.match };
  }
  return { text: text + matcher.flush(), match: undefined };
}

const few = fc.constantFrom("a", "b", "c");
const word = fc.string({ unit: few, minLength: 1, maxLength: 4 });

describe("a stop matcher", () => {
  it("finds the same whatever the pieces", () => {
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 4 }),
        fc.array(fc.string({ unit: few, maxLength: 5 })),
        (stops, pieces) => {
          const whole = run(stops, [pieces.join("")]);
          expect(run(stops, pieces)).toEqual(whole);
          expect(run(stops, [...pieces.join("")])).toEqual(whole);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("lets no stop string through, and withholds nothing else", () => {
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 4 }),
        fc.array(fc.string({ unit: few, maxLength: 5 })),
        (stops, pieces) => {
          const { text, match } = run(stops, pieces);
          const whole = pieces.join("");
          expect(stops.some((stop) => text.includes(stop))).toBe(false);
          expect(match === undefined ? text : whole.slice(0, text.length + match.length)).toBe(
            match === undefined ? whole : text + match,
          );
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("holds back no more than could still become a stop string", () => {
    const matcher = new StopMatcher(["STOP", "TO"]);
    expect(matcher.push("a ST")).toEqual({ text: "a " });
    expect(matcher.push("a")).toEqual({ text: "STa" });
    expect(matcher.push("SSTO")).toEqual({ text: "SS", match: "TO" });
  });
});
