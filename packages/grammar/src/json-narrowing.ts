import { AppError } from "@moiety/core";
import type { JsonSchema } from "./content-grammar.js";

const DATE = [
  "[0-9]{4}-(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
  "[0-9]{4}-(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)",
  "[0-9]{4}-02-(?:0[1-9]|1[0-9]|2[0-8])",
  "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29",
].join("|");
const TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";

/**
 * What validators ask of a format and the engine's own idea of it leaves open: that February has a 29th in leap years only, that
 * leap seconds are at midnight (here: never), that a mailbox is at a domain with a dot, that a host's name ends somewhere.
 */
const NARROWER: Readonly<Record<string, string>> = {
  date: `^(?:${DATE})$`,
  time: `^${TIME}$`,
  "date-time": `^(?:${DATE})T${TIME}$`,
  email: `^[^@]{1,64}@(?:${LABEL}\\.){1,4}${LABEL}$`,
  hostname: "^.{1,253}$",
};

/** Keywords whose values are instances. */
const INSTANCES: ReadonlySet<string> = new Set(["const", "enum"]);
/** Keywords that bind nothing. */
const ANNOTATIONS: ReadonlySet<string> = new Set(["default", "examples", "example", "title", "description", "$comment"]);
/** Keywords whose values are schemas by name. */
const MAPS: ReadonlySet<string> = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]);
const MOST: ReadonlySet<string> = new Set(["maximum", "exclusiveMaximum"]);
const LEAST: ReadonlySet<string> = new Set(["minimum", "exclusiveMinimum"]);

/**
 * A schema of which every instance is valid under the given one, whoever validates. Formats get a pattern beside them where validators
 * differ; bounds beyond 2^53 - 1, which JSON.parse has rounded, become that.
 * @throws AppError INVALID_ARGUMENT for another number that JSON.parse has rounded: what the client wrote is not known any more.
 */
export function narrowed(schema: JsonSchema): JsonSchema {
  const copy: Record<string, unknown> = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, narrowedValue(key, value)]),
  );
  const { format, pattern, allOf } = schema;
  const narrower = typeof format === "string" && Object.hasOwn(NARROWER, format) ? NARROWER[format] : undefined;
  if (narrower === undefined) return copy;
  if (pattern === undefined) return { ...copy, pattern: narrower };
  return { ...copy, allOf: [...(Array.isArray(allOf) ? (copy["allOf"] as unknown[]) : []), { pattern: narrower }] };
}

function narrowedValue(key: string, value: unknown): unknown {
  if (ANNOTATIONS.has(key)) return value;
  if (INSTANCES.has(key)) {
    checkNumbers(value);
    return value;
  }
  if (typeof value === "number") {
    const bound = MOST.has(key) ? Math.min(value, Number.MAX_SAFE_INTEGER) : value;
    const number = LEAST.has(key) ? Math.max(bound, Number.MIN_SAFE_INTEGER) : bound;
    checkNumbers(number);
    return number;
  }
  if (Array.isArray(value)) return value.map((each) => (isObject(each) ? narrowed(each) : each));
  if (!isObject(value)) return value;
  if (!MAPS.has(key)) return narrowed(value);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, isObject(each) ? narrowed(each) : each]));
}

function checkNumbers(instance: unknown): void {
  let level: readonly unknown[] = [instance];
  while (level.length > 0) {
    for (const value of level) {
      if (typeof value !== "number" || Number.isSafeInteger(value)) continue;
      if (!Number.isInteger(value) && Number.isFinite(value)) continue;
      throw new AppError("INVALID_ARGUMENT", "expected integers of at most 2^53 - 1");
    }
    level = level.flatMap((value) => (typeof value === "object" && value !== null ? Object.values(value) : []));
  }
}

function isObject(value: unknown): value is JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
