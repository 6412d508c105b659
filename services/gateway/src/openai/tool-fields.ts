import { z } from "zod";
import { areShort, description, functionName, jsonSchemaOfMany, schemasTooLong } from "./schema-fields.js";

const MAX_FUNCTIONS = 128;

/** `strict` holds the arguments to the schema; what else does is in the grammar of the turn. */
const tool = z.object({
  type: z.literal("function", { error: 'expected "function": tools of other kinds are not available' }),
  function: z.object({
    name: functionName,
    description,
    parameters: jsonSchemaOfMany.nullish(),
    strict: z.boolean().nullish(),
  }),
});

const namedFunction = z.object({ type: z.literal("function"), function: z.object({ name: functionName }) });

const toolChoice = z.union(
  [
    z.enum(["auto", "none", "required"]),
    namedFunction,
    z.object({
      type: z.literal("allowed_tools"),
      allowed_tools: z.object({
        mode: z.enum(["auto", "required"]),
        tools: z.array(namedFunction).min(1).max(MAX_FUNCTIONS),
      }),
    }),
  ],
  {
    error:
      'expected "auto", "none", "required", {"type": "function", "function": {"name"}} or {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}',
  },
);

export const toolFields = {
  tools: z
    .array(tool)
    .max(MAX_FUNCTIONS, `expected at most ${MAX_FUNCTIONS} functions`)
    .refine((tools) => areShort(tools.map((entry) => entry.function.parameters)), schemasTooLong)
    .optional(),
  /** With `none` the functions are kept from the model, and a call that it makes all the same is not delivered as one. */
  tool_choice: toolChoice.optional(),
  /** False: at most one call. True, the default: as many as the model makes, which was trained to make one at a time. */
  parallel_tool_calls: z.boolean().optional(),
};

export type ToolFields = z.output<z.ZodObject<typeof toolFields>>;
