import { z } from "zod";

export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * The JSON Schema (2020-12) of a request as clients write it. Transforms and checks across fields leave no trace; a field that is always
 * refused is left out; each optional field of the body itself may be null, which means "not given".
 */
export function requestJsonSchema(schema: z.ZodType): JsonSchema {
  return withNullableFields(convert(schema, "input"));
}

/** The JSON Schema (2020-12) of an answer: it has no other fields than these. */
export function answerJsonSchema(schema: z.ZodType): JsonSchema {
  return convert(schema, "output");
}

/** A schema that nothing meets. */
const NOTHING = { not: {} };

function convert(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  const { $schema: _, ...converted } = z.toJSONSchema(schema, {
    io,
    target: "draft-2020-12",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === "undefined") Object.assign(jsonSchema, NOTHING);
      dropRefusedFields(jsonSchema);
    },
  });
  return converted;
}

function dropRefusedFields(schema: z.core.JSONSchema.BaseSchema): void {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const isRefused = typeof field === "object" && typeof field.not === "object" && Object.keys(field.not).length === 0;
    if (isRefused) delete schema.properties?.[name];
  }
}

function withNullableFields(schema: JsonSchema): JsonSchema {
  const required = (schema["required"] ?? []) as readonly string[];
  const properties = Object.entries((schema["properties"] ?? {}) as Readonly<Record<string, JsonSchema>>);
  const nullable = properties.map(([name, field]) => [
    name,
    required.includes(name) ? field : { anyOf: [field, { type: "null" }] },
  ]);
  return { ...schema, properties: Object.fromEntries(nullable) };
}
