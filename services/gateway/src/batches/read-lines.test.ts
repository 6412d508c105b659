import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FileLine, readLinesInPages } from "./read-lines.js";

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) {
    yield bytes.subarray(at, at + size);
    at += size;
  }
  if (at < bytes.length) yield bytes.subarray(at);
}

interface Reading {
  readonly sizes?: readonly number[];
  readonly maxBytes?: number;
  readonly pageLines?: number;
  readonly pageBytes?: number;
}

async function lines(file: Uint8Array | string, { sizes = [], maxBytes = 1_000, ...page }: Reading = {}) {
  const bytes = Buffer.from(file);
  const found: FileLine[] = [];
  const open = (fromByte: number) => cut(bytes.subarray(fromByte), sizes);
  for await (const line of readLinesInPages(open, { maxBytes, ...page })) found.push(line);
  return found;
}

describe("the lines of a file", () => {
  it("are the same however the file is cut, and in pages of whatever size", async () => {
    const text = fc.string({ unit: fc.constantFrom("a", "é", "🙂", "\u2028", "\n", "\n", "\r", " ") });
    const size = fc.integer({ min: 1, max: 9 });
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.nat(7)), size, size, async (content, sizes, pageLines, pageBytes) => {
        const expected = content
          .split("\n")
          .map((line, index) => ({ number: index + 1, text: line }))
          .filter((line) => line.text.trim() !== "");
        expect(await lines(content, { sizes, pageLines, pageBytes })).toEqual(expected);
      }),
    );
  });

  it("leave nothing open while they are worked on", async () => {
    let open = 0;
    const bytes = Buffer.from("a\nb\nc\n\nd\ne");
    async function* file(fromByte: number) {
      open += 1;
      try {
        yield* cut(bytes.subarray(fromByte), [1, 1, 1, 1, 1, 1, 1, 1, 1]);
      } finally {
        open -= 1;
      }
    }
    const found: number[] = [];
    for await (const line of readLinesInPages(file, { maxBytes: 9, pageLines: 2 })) {
      expect(open).toBe(0);
      found.push(line.number);
    }
    expect(found).toEqual([1, 2, 3, 5, 6]);
  });

  it("come without the mark that some editors begin a file with", async () => {
    expect(await lines("\u{feff}{}\n\u{feff}")).toEqual([{ number: 1, text: "{}" }]);
  });

  it("are named when they are too long, whatever comes in one piece, and do not stop the others", async () => {
    const content = `${"x".repeat(11)}\n${"y".repeat(10)}\n${"z".repeat(99)}`;
    for (const sizes of [[], [3, 3, 3, 3, 3], [11, 1, 10]]) {
      expect(await lines(content, { sizes, maxBytes: 10 })).toEqual([
        { number: 1, fault: "too-long" },
        { number: 2, text: "y".repeat(10) },
        { number: 3, fault: "too-long" },
      ]);
    }
  });

  it("are named when they are not UTF-8", async () => {
    expect(await lines(Uint8Array.from([0x61, 0x0a, 0xff, 0x0a, 0x62]))).toEqual([
      { number: 1, text: "a" },
      { number: 2, fault: "not-utf8" },
      { number: 3, text: "b" },
    ]);
  });
});
