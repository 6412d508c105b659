import { describe, expect, it } from "vitest";
import { OutputTail } from "./output-tail.js";

describe("the tail of a process's output", () => {
  it("joins lines that came in pieces and keeps the last ones", () => {
    const tail = new OutputTail(2);
    tail.append("one\ntw");
    tail.append("o\nthree\nfo");
    expect(tail.lines).toEqual(["two", "three", "fo"]);
    expect(tail.text(2)).toBe("three\nfo");
  });

  it("clips a line without end", () => {
    const tail = new OutputTail(2);
    for (let index = 0; index < 100; index += 1) tail.append("x".repeat(1_000));
    expect(tail.text().length).toBeLessThan(6_000);
  });
});
