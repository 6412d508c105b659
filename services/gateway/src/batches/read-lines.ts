const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = "\u{feff}";

/** A line of a file, numbered from 1, without its end. */
export type FileLine =
  | { readonly number: number; readonly text: string }
  | { readonly number: number; readonly fault: "too-long" | "not-utf8" };

/** Puts a line together from the chunks that it came in, and never keeps more of it than it may have. */
class LineDraft {
  readonly #maxBytes: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  push(part: Uint8Array): void {
    this.#bytes += part.length;
    if (this.#bytes <= this.#maxBytes) this.#parts.push(part);
    else this.#parts = [];
  }

  take(number: number): FileLine {
    const [bytes, parts] = [this.#bytes, this.#parts];
    this.#bytes = 0;
    this.#parts = [];
    if (bytes > this.#maxBytes) return { number, fault: "too-long" };
    try {
      const text = this.#decoder.decode(Buffer.concat(parts));
      return { number, text: number === 1 && text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text };
    } catch {
      return { number, fault: "not-utf8" };
    }
  }
}

/**
 * The lines of a file of JSON lines. Blank ones are left out, but counted. Only a line feed ends a line: JSON may hold every other
 * separator as it is.
 */
export async function* readLines(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<FileLine> {
  const draft = new LineDraft(maxBytes);
  let number = 1;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      draft.push(chunk.subarray(start, end));
      const line = draft.take(number++);
      if ("fault" in line || line.text.trim() !== "") yield line;
      start = end + 1;
    }
    if (start < chunk.length) draft.push(chunk.subarray(start));
  }
  if (draft.isEmpty) return;
  const last = draft.take(number);
  if ("fault" in last || last.text.trim() !== "") yield last;
}
