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

/** Keywords whose values are data, in which a `format` means nothing. */
const DATA: ReadonlySet<string> = new Set(["const", "enum", "default", "examples", "example"]);
/** Keywords whose values are schemas by name. */
const MAPS: ReadonlySet<string> = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]);

/** The schema with a pattern beside every format that needs one: what matches both is valid to every validator. */
export function withNarrowFormats(schema: JsonSchema): JsonSchema {
  const entries = Object.entries(schema).map(([key, value]) => [key, DATA.has(key) ? value : within(key, value)]);
  const copy: Record<string, unknown> = Object.fromEntries(entries);
  const { format, pattern, allOf } = schema;
  const narrower = typeof format === "string" && Object.hasOwn(NARROWER, format) ? NARROWER[format] : undefined;
  if (narrower === undefined) return copy;
  if (pattern === undefined) return { ...copy, pattern: narrower };
  return { ...copy, allOf: [...(Array.isArray(allOf) ? (copy["allOf"] as unknown[]) : []), { pattern: narrower }] };
}

function within(key: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => (isObject(each) ? withNarrowFormats(each) : each));
  if (!isObject(value)) return value;
  if (!MAPS.has(key)) return withNarrowFormats(value);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, isObject(each) ? withNarrowFormats(each) : each]));
}

function isObject(value: unknown): value is JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
