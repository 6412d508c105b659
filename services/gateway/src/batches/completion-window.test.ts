import { describe, expect, it } from "vitest";
import { parseWindow } from "./completion-window.js";

describe("a completion window", () => {
  it.each([
    ["24h", 86_400_000],
    ["1s", 1_000],
    ["90m", 5_400_000],
    ["7d", 604_800_000],
  ])("of %s is a time", (text, windowMs) => {
    expect(parseWindow(text)).toBe(windowMs);
  });

  it.each(["", "24", "h", "0h", "-1h", "1.5h", "8d", "169h", "24H", " 24h", "1000000s"])("%j is none", (text) => {
    expect(parseWindow(text)).toBeUndefined();
  });
});
