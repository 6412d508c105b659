export interface StopStep {
  /** Text that can no longer become part of a stop string. */
  readonly text: string;
  /** The stop string that was found; everything from its beginning on is withheld for good. */
  readonly match?: string;
}

/**
 * Looks for stop strings in text that comes in pieces. What is found does not depend on where the pieces end: it is the stop string
 * that ends first, and the longest of those that end together.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  push(piece: string): StopStep {
    const text = this.#held + piece;
    const match = this.#firstMatch(text);
    if (match) {
      this.#held = "";
      return { text: text.slice(0, match.start), match: match.stop };
    }
    const heldLength = this.#possibleBeginning(text);
    this.#held = text.slice(text.length - heldLength);
    return { text: text.slice(0, text.length - heldLength) };
  }

  /** Text that was held back and turned out to be no stop string. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  #firstMatch(text: string): { readonly start: number; readonly stop: string } | undefined {
    let best: { start: number; stop: string; end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      if (!best || end < best.end || (end === best.end && start < best.start)) best = { start, stop, end };
    }
    return best;
  }

  /** Length of the longest end of `text` with which a stop string begins. */
  #possibleBeginning(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (stop.startsWith(text.slice(text.length - length))) longest = length;
      }
    }
    return longest;
  }
}
