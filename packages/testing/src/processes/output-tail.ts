/** The last lines that a process wrote, for the message of a failed test. Bounded in lines and in their length. */
export class OutputTail {
  readonly #maxLines: number;
  readonly #lines: string[] = [];
  #partial = "";

  constructor(maxLines = 500) {
    this.#maxLines = maxLines;
  }

  append(chunk: string): void {
    const pieces = (this.#partial + chunk).split("\n");
    this.#partial = clip(pieces.pop() ?? "");
    for (const line of pieces) this.#lines.push(clip(line));
    this.#lines.splice(0, Math.max(0, this.#lines.length - this.#maxLines));
  }

  /** Oldest first; the last may be incomplete. */
  get lines(): readonly string[] {
    return this.#partial === "" ? [...this.#lines] : [...this.#lines, this.#partial];
  }

  /** The last `count` lines as text. */
  text(count = 40): string {
    return this.lines.slice(-count).join("\n");
  }
}

const MAX_LINE_LENGTH = 4_000;

function clip(line: string): string {
  return line.length <= MAX_LINE_LENGTH ? line : `${line.slice(0, MAX_LINE_LENGTH)}…`;
}
