import type { AddedToken } from "./tokenizer-schema.js";

/** A stretch of plain text, or one added token. */
export type TextPiece = { readonly kind: "text"; readonly text: string } | { readonly kind: "token"; readonly id: number };

/**
 * Cuts a text at its added tokens, leftmost first, the longest where several begin at one place. The library would do it too, but it
 * numbers added tokens anew and cannot leave special ones alone.
 */
export class TextSplitter {
  readonly #idByContent: ReadonlyMap<string, number>;
  readonly #pattern: RegExp | undefined;

  constructor(tokens: readonly AddedToken[]) {
    this.#idByContent = new Map(tokens.map(({ content, id }) => [content, id]));
    const longestFirst = [...this.#idByContent.keys()].sort((a, b) => b.length - a.length).map(escapeRegExp);
    this.#pattern = longestFirst.length === 0 ? undefined : new RegExp(longestFirst.join("|"), "gu");
  }

  split(text: string): readonly TextPiece[] {
    const pieces: TextPiece[] = [];
    let start = 0;
    for (const match of this.#pattern === undefined ? [] : text.matchAll(this.#pattern)) {
      const id = this.#idByContent.get(match[0]);
      if (id === undefined) continue;
      if (match.index > start) pieces.push({ kind: "text", text: text.slice(start, match.index) });
      pieces.push({ kind: "token", id });
      start = match.index + match[0].length;
    }
    if (start < text.length) pieces.push({ kind: "text", text: text.slice(start) });
    return pieces;
  }
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
