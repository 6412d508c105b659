import { z } from "zod";

const choicesSchema = z.object({ enum: z.array(z.string()) });

/** Every environment variable of a service, from its schema: name, what it is for, and its default. */
export function listConfig(schema: z.ZodObject): string {
  return Object.entries(schema.shape)
    .map(([name, field]) => `${name}\n  ${describe(field as z.ZodType)}`)
    .join("\n");
}

function describe(field: z.ZodType): string {
  const json = choicesSchema.safeParse(z.toJSONSchema(field, { io: "input", unrepresentable: "any" }));
  const choices = json.success ? ` (${json.data.enum.join(", ")})` : "";
  // What a field makes of nothing is its default.
  const absent = field.safeParse(undefined);
  const otherwise = absent.success && absent.data !== undefined ? `; default: ${String(absent.data)}` : "";
  return `${field.description ?? ""}${choices}${absent.success ? otherwise : "; required"}`;
}
