import { describe, expect, it } from "vitest";
import { narrowed } from "./json-narrowing.js";

const matches = (format: string, text: string) => new RegExp(String(narrowed({ format })["pattern"]), "u").test(text);

describe("a format", () => {
  it.each([
    ["date", "2024-02-29"],
    ["date", "2000-02-29"],
    ["date", "1999-12-31"],
    ["time", "23:59:59.123+01:00"],
    ["date-time", "2023-02-28T00:00:00Z"],
    ["email", "a.b@example.org"],
  ])("%s lets through %s", (format, text) => expect(matches(format, text)).toBe(true));

  it.each([
    ["date", "2023-02-29"],
    ["date", "1900-02-29"],
    ["date", "2024-04-31"],
    ["time", "23:59:60Z"],
    ["date-time", "1900-02-29T00:00:00Z"],
    ["email", "a@b"],
    ["hostname", "a".repeat(254)],
  ])("%s stops %s", (format, text) => expect(matches(format, text)).toBe(false));

  it("is narrowed wherever a schema is, beside a pattern of the client's own, and never in data", () => {
    const date = { format: "date" };
    const { pattern } = narrowed(date);
    const data = { const: date, enum: [date], default: date };
    expect(narrowed({ ...data, properties: { enum: date, format: date }, anyOf: [date], items: { not: date } })).toEqual({
      ...data,
      properties: { enum: { ...date, pattern }, format: { ...date, pattern } },
      anyOf: [{ ...date, pattern }],
      items: { not: { ...date, pattern } },
    });
    expect(narrowed({ ...date, pattern: "^2" })).toEqual({ ...date, pattern: "^2", allOf: [{ pattern }] });
    expect(narrowed({ format: "toString", type: "string" })).toEqual({ format: "toString", type: "string" });
  });
});

describe("a number", () => {
  const big = 2 ** 63;

  it("that bounds more than JSON.parse can tell apart bounds what it can", () => {
    expect(narrowed({ type: "integer", minimum: -big, maximum: big })).toEqual({
      type: "integer",
      minimum: Number.MIN_SAFE_INTEGER,
      maximum: Number.MAX_SAFE_INTEGER,
    });
    expect(narrowed({ exclusiveMaximum: Number.POSITIVE_INFINITY, maximum: 1.5 })).toEqual({
      exclusiveMaximum: Number.MAX_SAFE_INTEGER,
      maximum: 1.5,
    });
  });

  it.each([
    { const: big },
    { enum: [1, { a: [big] }] },
    { minimum: big },
    { multipleOf: big },
    { properties: { default: { const: big } } },
  ])("that JSON.parse has rounded is refused in %j", (schema) => expect(() => narrowed(schema)).toThrow("2^53"));

  it("that binds nothing is let through", () => {
    expect(narrowed({ default: big, examples: [big], properties: { const: { type: "integer" } } })).toMatchObject({
      default: big,
    });
  });
});
