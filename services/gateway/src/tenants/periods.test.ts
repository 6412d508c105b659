import { expect, it } from "vitest";
import { msUntilNext, periodsOf } from "./periods.js";

const HOUR_MS = 3_600_000;

it.each([
  ["2026-01-31T23:00:00Z", "2026-01-31", "2026-01", HOUR_MS, HOUR_MS],
  ["2028-02-28T22:00:00Z", "2028-02-28", "2028-02", 2 * HOUR_MS, 26 * HOUR_MS],
  ["2026-12-31T00:00:00Z", "2026-12-31", "2026-12", 24 * HOUR_MS, 24 * HOUR_MS],
  ["2026-03-01T00:00:00+01:00", "2026-02-28", "2026-02", HOUR_MS, HOUR_MS],
])("%s is of %s, of %s, and ends when they do, in UTC", (time, day, month, untilDay, untilMonth) => {
  const atMs = Date.parse(time);
  expect(periodsOf(atMs)).toEqual({ day, month });
  expect([msUntilNext("day", atMs), msUntilNext("month", atMs)]).toEqual([untilDay, untilMonth]);
});
