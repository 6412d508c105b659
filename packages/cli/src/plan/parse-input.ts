import { AppError } from "@moiety/core";
import type { z } from "zod";

/** What a schema makes of a file's JSON. @throws AppError INVALID_ARGUMENT that names the file, and the first field at fault. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, value: unknown, file: string): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue?.path.join(".") || "(top level)";
  throw new AppError("INVALID_ARGUMENT", `${file}: ${field}: ${issue?.message ?? "not as expected"}`, { details: { field } });
}
