import type { JsonSchema } from "../src/index.js";

/** A name, and a schema of a kind that public schemas are of. */
export type NamedSchema = readonly [name: string, schema: JsonSchema];

const closed = (properties: Record<string, unknown>, required = Object.keys(properties)) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});
const range = (count: number) => Array.from({ length: count }, (_, index) => index);
const family = (name: string, count: number, make: (index: number) => JsonSchema): NamedSchema[] =>
  range(count).map((index) => [`${name} ${index}`, make(index)]);
const TYPES = ["string", "integer", "number", "boolean", "null"] as const;
const typed = (index: number) => ({ type: TYPES[index % TYPES.length] });
const word = (index: number) => `value-${index.toString(36)}-${(index * 7_919) % 997}`;

const nested = (depth: number): JsonSchema =>
  depth === 0
    ? closed({ name: { type: "string" }, age: { type: "integer" } })
    : closed({ [`level_${depth}`]: nested(depth - 1), flag: { type: "boolean" } });

const RECURSIVE: readonly JsonSchema[] = [
  {
    $ref: "#/$defs/node",
    $defs: {
      node: closed({ value: { type: "integer" }, children: { type: "array", items: { $ref: "#/$defs/node" }, maxItems: 2 } }),
    },
  },
  closed({ name: { type: "string", maxLength: 8 }, next: { anyOf: [{ $ref: "#" }, { type: "null" }] } }),
  {
    $ref: "#/$defs/expression",
    $defs: {
      expression: {
        anyOf: [
          { type: "integer" },
          closed({
            operator: { enum: ["+", "-", "*"] },
            left: { $ref: "#/$defs/expression" },
            right: { $ref: "#/$defs/expression" },
          }),
        ],
      },
    },
  },
  {
    $ref: "#/definitions/list",
    definitions: {
      list: { type: "array", items: { anyOf: [{ $ref: "#/definitions/list" }, { type: "boolean" }] }, maxItems: 3 },
    },
  },
  closed({ menu: { $ref: "#/$defs/menu" } }, ["menu"]),
  closed({ even: { $ref: "#/$defs/even" } }),
].map((schema, index) => {
  const menu = closed(
    { label: { type: "string", maxLength: 5 }, items: { type: "array", items: { $ref: "#/$defs/menu" }, maxItems: 2 } },
    ["label"],
  );
  const even = closed({ odd: { anyOf: [{ $ref: "#/$defs/odd" }, { const: 0 }] } });
  const odd = closed({ even: { anyOf: [{ $ref: "#/$defs/even" }, { const: 1 }] } });
  return index < 4 ? schema : { ...schema, $defs: { menu, even, odd } };
});

const FORMATS = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];
const PATTERNS = [
  "^\\+?[0-9]{7,15}$",
  "^[A-Z]{2}-[0-9]{3,4}$",
  "^(?:red|green|blue)$",
  "^#[0-9a-fA-F]{6}$",
  "^v\\d+\\.\\d+\\.\\d+$",
  "^[a-z][a-z0-9_]{0,15}$",
  "^(ab|cd){1,3}$",
  "b",
  "^x",
  "z$",
  "^[^0-9]{1,6}$",
  "^\\w{1,8}$",
  "^\\d{4}-\\d{2}$",
  "^[\\p{Lu}]\\p{Ll}{1,5}$",
  "^$",
  "^a*b?c+$",
];
const KEYS = ["größe", "名前", 'quo"te', "back\\slash", "new\nline", "a b", "$ref", "__proto__x"];

const REAL: readonly JsonSchema[] = [
  closed({
    location: { type: "string", description: "City and country", maxLength: 30 },
    unit: { enum: ["celsius", "fahrenheit"] },
  }),
  closed({
    id: { type: "string", format: "uuid" },
    lines: {
      type: "array",
      items: closed({
        sku: { type: "string", pattern: "^[A-Z]{3}-[0-9]{4}$" },
        quantity: { type: "integer", minimum: 1, maximum: 99 },
        price: { type: "number", minimum: 0 },
      }),
      minItems: 1,
      maxItems: 3,
    },
    currency: { enum: ["EUR", "SEK", "USD"] },
  }),
  closed({
    type: { const: "Feature" },
    geometry: {
      oneOf: [
        closed({ type: { const: "Point" }, coordinates: { type: "array", items: { type: "number" }, minItems: 2, maxItems: 2 } }),
        closed({
          type: { const: "LineString" },
          coordinates: {
            type: "array",
            items: { type: "array", items: { type: "number" }, minItems: 2, maxItems: 2 },
            minItems: 2,
            maxItems: 3,
          },
        }),
      ],
    },
  }),
  closed({
    steps: {
      type: "array",
      items: closed({ explanation: { type: "string", maxLength: 20 }, output: { type: "string", maxLength: 20 } }),
      maxItems: 3,
    },
    final_answer: { type: "string", maxLength: 20 },
  }),
  closed({
    first: { type: "string", maxLength: 9 },
    last: { type: "string", maxLength: 9 },
    born: { type: "string", format: "date" },
    address: {
      anyOf: [
        { type: "null" },
        closed({ street: { type: "string", maxLength: 12 }, zip: { type: "string", pattern: "^[0-9]{5}$" } }),
      ],
    },
  }),
  closed({
    openapi: { const: "3.1.0" },
    info: closed({ title: { type: "string", maxLength: 10 }, version: { type: "string", pattern: "^\\d+\\.\\d+$" } }),
    paths: {
      type: "object",
      patternProperties: { "^/[a-z]{1,5}$": closed({ get: { type: "object" } }) },
      additionalProperties: false,
    },
  }),
  closed({
    sentiment: { enum: ["positive", "neutral", "negative"] },
    confidence: { type: "number", minimum: 0, maximum: 1 },
    spans: {
      type: "array",
      items: {
        type: "array",
        prefixItems: [
          { type: "integer", minimum: 0 },
          { type: "integer", minimum: 0 },
        ],
        items: false,
        minItems: 2,
      },
      maxItems: 2,
    },
  }),
  closed({
    query: { type: "string", minLength: 1, maxLength: 12 },
    filters: {
      type: "object",
      additionalProperties: { anyOf: [{ type: "string", maxLength: 5 }, { type: "number" }, { type: "boolean" }] },
    },
    limit: { type: ["integer", "null"], minimum: 1, maximum: 100 },
  }),
  closed({ event: { allOf: [{ $ref: "#/$defs/base" }, { properties: { kind: { const: "created" } }, required: ["kind"] }] } }),
  closed({
    host: { type: "string", format: "hostname" },
    port: { type: "integer", minimum: 1, maximum: 65_535 },
    tls: { type: "boolean" },
    tags: { type: "array", items: { enum: range(40).map(word) }, maxItems: 4 },
  }),
].map((schema, index) =>
  index === 8
    ? {
        ...schema,
        $defs: { base: { type: "object", properties: { at: { type: "string", format: "date-time" } }, required: ["at"] } },
      }
    : schema,
);

/** Schemas that the engine obeys. */
export const SCHEMAS: readonly NamedSchema[] = [
  ...family("object", 12, (i) => closed(Object.fromEntries(range(i + 1).map((key) => [`field_${key}`, typed(key + i)])))),
  ...family("optional properties", 8, (i) =>
    closed(
      Object.fromEntries(range(i + 2).map((key) => [`field_${key}`, typed(key)])),
      range(i).map((key) => `field_${key}`),
    ),
  ),
  ...family("nested", 12, nested),
  ...family("recursive", RECURSIVE.length, (i) => RECURSIVE[i] ?? {}),
  ...family("anyOf", 12, (i) => ({
    anyOf: range(i + 2).map((k) => closed({ [`key_${k}`]: typed(k), tag: { const: word(k) } })),
  })),
  ...family("anyOf of types", 6, (i) =>
    closed({
      value: {
        anyOf: range(i + 1).map((k) => (k === 4 ? { type: "array", items: { type: "integer" }, maxItems: 2 } : typed(k))),
      },
    }),
  ),
  ...family("oneOf", 8, (i) => ({ oneOf: range(i + 2).map((k) => closed({ kind: { const: `kind_${k}` }, value: typed(k) })) })),
  ...family("allOf", 8, (i) => ({
    allOf: range(i + 1).map((k) => ({ type: "object", properties: { [`part_${k}`]: typed(k) }, required: [`part_${k}`] })),
  })),
  ...family("enum", 10, (i) => closed({ code: { enum: range(2 ** i).map(word) } })),
  ...family("mixed enum", 6, (i) => closed({ code: { enum: [1, "x", null, true, 2.5, { k: [1] }].slice(0, i + 1) } })),
  ...family("const", 6, (i) => ({ const: [1, "x", null, { a: [1, null] }, [], 'quo"te\n'][i] })),
  ...family("format", FORMATS.length, (i) => ({ type: "string", format: FORMATS[i] })),
  ...family("list of format", FORMATS.length, (i) =>
    closed({ list: { type: "array", items: { type: "string", format: FORMATS[i] }, minItems: 1, maxItems: 2 } }),
  ),
  ...family("pattern", PATTERNS.length, (i) => closed({ text: { type: "string", pattern: PATTERNS[i] } })),
  ...family("integer range", 10, (i) => ({ type: "integer", minimum: i * i - 30, maximum: i * 17 + 3 })),
  ...family("number range", 8, (i) => ({ type: "number", minimum: -i / 2, exclusiveMaximum: i * 1.25 + 0.5 })),
  ...family("multipleOf", 6, (i) => ({ type: "integer", multipleOf: i + 2, minimum: 0, maximum: 10_000 })),
  ...family("length", 8, (i) => closed({ text: { type: "string", minLength: i, maxLength: i * 3 + 1 } })),
  ...family("list", 10, (i) => ({ type: "array", items: typed(i), minItems: i % 3, maxItems: (i % 3) + i })),
  ...family("tuple", 6, (i) => ({
    type: "array",
    prefixItems: range(i + 1).map(typed),
    items: i % 2 === 0 ? false : { type: "boolean" },
    minItems: i + 1,
    maxItems: i + 2 - ((i + 1) % 2),
  })),
  ...family("map", 6, (i) => ({ type: "object", additionalProperties: typed(i) })),
  ...family("patternProperties", 4, (i) => ({
    type: "object",
    patternProperties: { [`^x_[a-z]{${i + 1}}$`]: typed(i) },
    additionalProperties: false,
  })),
  ...family("nullable", 8, (i) =>
    closed({ a: { type: [TYPES[i % 4] ?? "string", "null"] }, b: { type: ["integer", "string", "null"] } }),
  ),
  ...family("key", KEYS.length, (i) => closed({ [KEYS[i] ?? ""]: typed(i) })),
  ...family("real", REAL.length, (i) => REAL[i] ?? {}),
  ["any value", {}],
  ["any object", { type: "object" }],
  ["wide", closed(Object.fromEntries(range(60).map((key) => [`field_${key}`, { type: "boolean" }])))],
];

const str = (rest: object) => ({ type: "string", ...rest });

/** [keyword, schema, an instance that is valid, one that is not]. */
export type Probe = readonly [name: string, schema: JsonSchema, valid: unknown, invalid: unknown];

export const ENFORCED: readonly Probe[] = [
  ["minLength", str({ minLength: 3 }), "abc", "ab"],
  ["maxLength", str({ maxLength: 3 }), "abc", "abcd"],
  ["maxLength of code points", str({ maxLength: 2 }), "😀😀", "😀😀😀"],
  ["pattern", str({ pattern: "^a+$" }), "aa", "ab"],
  ["pattern anywhere", str({ pattern: "b" }), "abc", "aac"],
  ["pattern with maxLength", str({ pattern: "^a+$", maxLength: 2 }), "aa", "aaa"],
  ["pattern of classes", str({ pattern: "^\\d\\w$" }), "1a", "a1"],
  ["pattern of properties", str({ pattern: "^\\p{Lu}$" }), "É", "é"],
  ["date", str({ format: "date" }), "2024-02-03", "2024-13-03"],
  ["email with maxLength", str({ format: "email", maxLength: 10 }), "a@b.org", "aaaaaaaaaa@b.org"],
  ["uuid", str({ format: "uuid" }), "123e4567-e89b-12d3-a456-426614174000", "123"],
  ["ipv6", str({ format: "ipv6" }), "::1", "zz"],
  ["time", str({ format: "time" }), "10:00:00Z", "25:00:00Z"],
  ["minimum", { type: "integer", minimum: 10 }, 10, 9],
  ["maximum", { type: "integer", maximum: 10 }, 10, 11],
  ["exclusiveMinimum", { type: "integer", exclusiveMinimum: 10 }, 11, 10],
  ["minimum of numbers", { type: "number", minimum: 0.5 }, 0.5, 0.4],
  ["multipleOf", { type: "integer", multipleOf: 3 }, 9, 10],
  ["multipleOf a fraction", { type: "number", multipleOf: 0.1 }, 0.5, 0.55],
  ["minItems", { type: "array", items: { type: "integer" }, minItems: 2 }, [1, 2], [1]],
  ["maxItems", { type: "array", items: { type: "integer" }, maxItems: 2 }, [1, 2], [1, 2, 3]],
  ["prefixItems", { type: "array", prefixItems: [{ type: "integer" }], items: false }, [1], ["a"]],
  ["minProperties", { type: "object", minProperties: 1 }, { a: 1 }, {}],
  ["maxProperties", { type: "object", maxProperties: 1 }, { a: 1 }, { a: 1, b: 2 }],
  [
    "patternProperties",
    { type: "object", patternProperties: { "^x": { type: "integer" } }, additionalProperties: false },
    { x: 1 },
    { x: "a" },
  ],
  ["required without properties", { type: "object", properties: {}, required: ["z"] }, { z: 1 }, {}],
  ["allOf of bounds", { allOf: [{ type: "integer", minimum: 2 }, { maximum: 4 }] }, 3, 5],
  ["$ref with siblings", { $defs: { s: { type: "string" } }, $ref: "#/$defs/s", maxLength: 2 }, "ab", "abc"],
  ["enum with type", { type: "integer", enum: ["a", 1] }, 1, "a"],
  [
    "properties in their order",
    { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } }, additionalProperties: false },
    { b: 1 },
    { c: 1 },
  ],
  [
    "a declared key again",
    { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
    { a: 1 },
    '{"a":1,"a":"x"}',
  ],
  [
    "a declared key in disguise",
    { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
    { a: 1 },
    '{"a":1,"\\u0061":"x"}',
  ],
  ["x-guidance overruled", { "x-guidance": { lenient: true, whitespace_pattern: "[ x]*" }, type: "object" }, {}, "{x}"],
];

export const REFUSED: readonly (readonly [name: string, schema: JsonSchema])[] = [
  ["lookahead", str({ pattern: "^(?=a)[a-z]+$" })],
  ["format regex", str({ format: "regex" })],
  ["format iri", str({ format: "iri" })],
  ["uniqueItems", { type: "array", items: { type: "integer" }, uniqueItems: true }],
  ["contains", { type: "array", contains: { const: 1 } }],
  [
    "minProperties of optional ones",
    { type: "object", properties: { a: {}, b: {} }, minProperties: 2, additionalProperties: false },
  ],
  ["propertyNames", { type: "object", propertyNames: { pattern: "^x" } }],
  ["dependentRequired", { type: "object", properties: { a: {}, b: {} }, dependentRequired: { a: ["b"] } }],
  ["unevaluatedProperties", { type: "object", properties: { a: {} }, unevaluatedProperties: false }],
  ["not", { type: "integer", not: { const: 1 } }],
  ["not, though x-guidance is lenient", { "x-guidance": { lenient: true }, type: "integer", not: { const: 1 } }],
  [
    "if",
    {
      type: "object",
      properties: { a: { type: "integer" }, b: {} },
      if: { properties: { a: { const: 1 } } },
      // biome-ignore lint/suspicious/noThenProperty: that is its name in JSON Schema
      then: { required: ["b"] },
    },
  ],
  ["oneOf that overlaps", { oneOf: [{ type: "integer" }, { type: "number" }] }],
  ["a $ref to elsewhere", { $ref: "https://example.org/x.json" }],
  ["a $ref to nothing", { $ref: "#/$defs/none" }],
  ["a property that cannot be", { type: "object", properties: { a: false }, required: ["a"] }],
  ["bounds that cross", { type: "integer", minimum: 5, maximum: 4 }],
  ["a type that is none", { type: "strin" }],
  ["a $ref to itself", { $defs: { a: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" }],
  ["a number that JSON.parse rounds", { const: 2 ** 63 }],
];

const explosive = (levels: number): JsonSchema =>
  range(levels).reduce<JsonSchema>(
    (s) => ({ anyOf: [s, { type: "object", properties: { a: s, b: s }, required: ["a"], additionalProperties: false }] }),
    { type: "string" },
  );

/** Schemas that ask for more than there is: each is refused, or costs next to nothing. */
export const HOSTILE: readonly NamedSchema[] = [
  ["pattern with an exponential automaton", str({ pattern: "^(a|b)*a(a|b){24}$" })],
  ["pattern with huge repetitions", str({ pattern: "^([a-z]{1,1000}[0-9]{1,1000}){1,1000}$" })],
  ["anyOf of exponential size", explosive(10)],
  ["300 optional properties", closed(Object.fromEntries(range(300).map((key) => [`p${key}`, { type: "string" }])), [])],
  [
    "100,000 items",
    {
      type: "array",
      items: { type: "object", properties: { a: { type: "string", maxLength: 1_000 } }, required: ["a"] },
      maxItems: 100_000,
    },
  ],
  [
    "2^24 references",
    {
      $ref: "#/$defs/d24",
      $defs: Object.fromEntries(
        range(25).map((i) => [
          `d${i}`,
          i === 0 ? { type: "string" } : { allOf: [{ $ref: `#/$defs/d${i - 1}` }, { $ref: `#/$defs/d${i - 1}` }] },
        ]),
      ),
    },
  ],
  ["20,000 values", { enum: range(20_000).map((index) => `value ${index} ${(index * 2_654_435_761) >>> 0}`) }],
];
