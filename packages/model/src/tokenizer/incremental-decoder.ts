/** Turns tokens into text as they come. A token may end inside a character; its bytes wait for the rest. */
export interface IncrementalDecoder {
  /** The text that is complete now; often empty. Bytes that can never become UTF-8 give U+FFFD. */
  push(id: number): string;
  /** What was held back, as U+FFFD, after the last token. The decoder can then be used anew. */
  flush(): string;
}

export class Utf8Decoder implements IncrementalDecoder {
  readonly #bytesOf: (id: number) => Uint8Array;
  // A byte order mark in the middle of a text is text.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(bytesOf: (id: number) => Uint8Array) {
    this.#bytesOf = bytesOf;
  }

  push(id: number): string {
    return this.#decoder.decode(this.#bytesOf(id), { stream: true });
  }

  flush(): string {
    return this.#decoder.decode();
  }
}
