import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { CHART } from "./helm.js";

/** zod knows no `not`: the names that a propertyNames excludes become a part of its pattern. */
function withoutNot(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("not" in value)) return value;
  const { pattern, not } = z.object({ pattern: z.string(), not: z.object({ enum: z.array(z.string()) }) }).parse(value);
  return { pattern: pattern.replace("^", `^(?!(?:${not.enum.join("|")})$)`) };
}

const schema = z.fromJSONSchema(JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8"), withoutNot));

/** What the chart's schema says against values: `path: message` each. */
export function valuesFaults(values: unknown): readonly string[] {
  const { error } = schema.safeParse(values);
  return (error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}
