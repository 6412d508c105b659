import { expect, it } from "vitest";
import { backOffMs, countFailures } from "./back-off.js";

it("waits twice as long after every short life, up to ten seconds", () => {
  expect([1, 2, 3, 4, 5, 6, 7, 8, 100].map(backOffMs)).toEqual([200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
});

it("begins again after a life of half a minute", () => {
  expect(countFailures(5, 29_999)).toBe(6);
  expect(countFailures(5, 30_000)).toBe(1);
});
