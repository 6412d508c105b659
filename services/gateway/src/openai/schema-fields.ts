import { z } from "zod";
import { childrenOf, isContainer } from "./body-limits.js";

const MAX_DESCRIPTION_LENGTH = 16_384;
/** Length of all schemas of a request together, as JSON. */
const MAX_SCHEMAS_LENGTH = 524_288;
const MAX_SCHEMA_DEPTH = 32;

export const functionName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/, "expected 1 to 64 characters of A-Z a-z 0-9 _ -");
export const description = z.string().max(MAX_DESCRIPTION_LENGTH).nullish();

/** One of several, whose length is limited together. It is compiled later, when it is known what it constrains. */
export const jsonSchemaOfMany = z
  .custom<Readonly<Record<string, unknown>>>((value) => isContainer(value) && !Array.isArray(value), {
    error: "expected a JSON schema, which is an object",
    abort: true,
  })
  .refine((schema) => isShallow(schema), `expected a schema nested at most ${MAX_SCHEMA_DEPTH} levels deep`)
  .meta({ type: "object", description: `A JSON schema, nested at most ${MAX_SCHEMA_DEPTH} levels deep` });

export const schemasTooLong = `expected schemas of at most ${MAX_SCHEMAS_LENGTH} characters in all`;
export const jsonSchema = jsonSchemaOfMany.refine((schema) => areShort([schema]), schemasTooLong);

/** A schema as text. */
export const textSchema = z
  .string()
  .max(MAX_SCHEMAS_LENGTH, schemasTooLong)
  .transform((text, context) => {
    const result = jsonSchema.safeParse(parsed(text));
    if (result.success) return result.data;
    context.addIssue({ code: "custom", message: result.error.issues[0]?.message ?? "expected a JSON schema" });
    return z.NEVER;
  });

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isShallow(schema: object): boolean {
  let level: readonly object[] = [schema];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === MAX_SCHEMA_DEPTH) return false;
    level = level.flatMap((container) => childrenOf(container).filter(isContainer));
  }
  return true;
}

export function areShort(schemas: readonly unknown[]): boolean {
  let length = 0;
  for (const schema of schemas) length += JSON.stringify(schema ?? null).length;
  return length <= MAX_SCHEMAS_LENGTH;
}

/** What the final answer is to be. Shown to the model, and enforced, `strict` or not. Without a schema, any JSON value will do. */
export const responseFormatSchema = z.discriminatedUnion(
  "type",
  [
    z.object({ type: z.literal("text") }),
    z.object({ type: z.literal("json_object") }),
    z.object({
      type: z.literal("json_schema"),
      json_schema: z.object({ name: functionName, description, schema: jsonSchema.nullish(), strict: z.boolean().nullish() }),
    }),
  ],
  { error: 'expected "text", "json_object" or "json_schema"' },
);
