const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = "\u{feff}";

/** A line of a file, numbered from 1, without its end. */
export type FileLine =
  | { readonly number: number; readonly text: string }
  | { readonly number: number; readonly fault: "too-long" | "not-utf8" };

/** Where to begin to read: the line that begins at a byte. */
export interface FilePlace {
  readonly number: number;
  readonly byte: number;
}

const BEGINNING: FilePlace = { number: 1, byte: 0 };

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
 * The lines of a file of JSON lines, each with the place after it. Blank ones are left out, but counted. Only a line feed ends a line: JSON
 * may hold every other separator as it is.
 */
async function* readPlacedLines(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
  from: FilePlace,
): AsyncGenerator<{ readonly line: FileLine; readonly next: FilePlace }> {
  const draft = new LineDraft(maxBytes);
  let { number, byte } = from;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      draft.push(chunk.subarray(start, end));
      const line = draft.take(number++);
      start = end + 1;
      if (!isBlank(line)) yield { line, next: { number, byte: byte + start } };
    }
    if (start < chunk.length) draft.push(chunk.subarray(start));
    byte += chunk.length;
  }
  if (draft.isEmpty) return;
  const line = draft.take(number);
  if (!isBlank(line)) yield { line, next: { number: number + 1, byte } };
}

const isBlank = (line: FileLine): boolean => "text" in line && line.text.trim() === "";

export interface PageOptions {
  readonly maxBytes: number;
  /** Lines, and bytes, after which a page ends. */
  readonly pageLines?: number;
  readonly pageBytes?: number;
}

/**
 * The lines of a file, read some at a time: for a reader that takes its time, and must not hold a file or a connection open meanwhile.
 * `open` gives the file from a byte on.
 */
export async function* readLinesInPages(
  open: (fromByte: number) => AsyncIterable<Uint8Array>,
  { maxBytes, pageLines = 512, pageBytes = 8_388_608 }: PageOptions,
): AsyncGenerator<FileLine> {
  let place: FilePlace | undefined = BEGINNING;
  while (place !== undefined) {
    const from: FilePlace = place;
    const page: FileLine[] = [];
    place = undefined;
    for await (const { line, next } of readPlacedLines(open(from.byte), maxBytes, from)) {
      page.push(line);
      if (page.length < pageLines && next.byte - from.byte < pageBytes) continue;
      place = next;
      break;
    }
    yield* page;
  }
}
