import { z } from "zod";
import { childrenOf, isContainer } from "./body-limits.js";

const MAX_FUNCTIONS = 128;
const MAX_DESCRIPTION_LENGTH = 16_384;
/** Length of all schemas of a request together, as JSON. */
const MAX_SCHEMAS_LENGTH = 524_288;
const MAX_SCHEMA_DEPTH = 32;

const name = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/, "expected 1 to 64 characters of A-Z a-z 0-9 _ -");
const description = z.string().max(MAX_DESCRIPTION_LENGTH).nullish();

/** Rendered for the model to read; nothing compiles it yet. */
const jsonSchema = z
  .custom<Readonly<Record<string, unknown>>>((value) => isContainer(value) && !Array.isArray(value), {
    error: "expected a JSON schema, which is an object",
    abort: true,
  })
  .refine((schema) => isShallow(schema), `expected a schema nested at most ${MAX_SCHEMA_DEPTH} levels deep`)
  .meta({ type: "object", description: `A JSON schema, nested at most ${MAX_SCHEMA_DEPTH} levels deep` });

function isShallow(schema: object): boolean {
  let level: readonly object[] = [schema];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === MAX_SCHEMA_DEPTH) return false;
    level = level.flatMap((container) => childrenOf(container).filter(isContainer));
  }
  return true;
}

function areShort(schemas: readonly unknown[]): boolean {
  let length = 0;
  for (const schema of schemas) length += JSON.stringify(schema ?? null).length;
  return length <= MAX_SCHEMAS_LENGTH;
}
const tooLong = `expected schemas of at most ${MAX_SCHEMAS_LENGTH} characters in all`;

/** `strict` is accepted, but arguments are not held to the schema yet: decoding is not constrained. */
const tool = z.object({
  type: z.literal("function", { error: 'expected "function": tools of other kinds are not available' }),
  function: z.object({ name, description, parameters: jsonSchema.nullish(), strict: z.boolean().nullish() }),
});

const FORCED =
  'expected "auto" or "none": making the model call a function needs constrained decoding, which is not available yet';

export const toolFields = {
  tools: z
    .array(tool)
    .max(MAX_FUNCTIONS, `expected at most ${MAX_FUNCTIONS} functions`)
    .refine((tools) => areShort(tools.map((entry) => entry.function.parameters)), tooLong)
    .optional(),
  /** With `none` the functions are kept from the model. A call that it makes all the same is delivered. */
  tool_choice: z
    .enum(["auto", "none"], {
      error: ({ input }) => (input === "required" || isContainer(input) ? FORCED : 'expected "auto" or "none"'),
    })
    .optional(),
  /** Accepted and not enforced: the model ends its turn with a call, and so makes one at a time. */
  parallel_tool_calls: z.boolean().optional(),
};

/**
 * Formats are shown to the model, which usually keeps to them; nothing enforces them yet, `strict` or not. Without a schema, any JSON
 * value will do.
 */
export const responseFormatSchema = z.discriminatedUnion(
  "type",
  [
    z.object({ type: z.literal("text") }),
    z.object({ type: z.literal("json_object") }),
    z.object({
      type: z.literal("json_schema"),
      json_schema: z.object({
        name,
        description,
        schema: jsonSchema.refine((schema) => areShort([schema]), tooLong).nullish(),
        strict: z.boolean().nullish(),
      }),
    }),
  ],
  { error: 'expected "text", "json_object" or "json_schema"' },
);
