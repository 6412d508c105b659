import { AppError } from "@moiety/core";
import type { z } from "zod";

/** INVALID_ARGUMENT that says which field of which file is wrong and what was expected there. */
export function configFault(file: string, field: string, problem: string): AppError {
  return new AppError("INVALID_ARGUMENT", `${file}: ${field}: ${problem}`, { details: { file, field } });
}

/** Parses by a schema; every fault is listed as `field: expectation, found value`. */
export function parseFile<T>(schema: z.ZodType<T>, value: unknown, file: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problemByField = new Map<string, string>();
  for (const issue of result.error.issues) {
    const field = issue.path.map(String).join(".") || "(top level)";
    if (!problemByField.has(field)) problemByField.set(field, `${issue.message}, found ${preview(valueAt(value, issue.path))}`);
  }
  const shown = [...problemByField].slice(0, 8).map(([field, problem]) => `${field}: ${problem}`);
  throw new AppError("INVALID_ARGUMENT", `${file}: ${shown.join("; ")}`, {
    details: { file, field: [...problemByField.keys()][0] },
  });
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const key of path) at = typeof at === "object" && at !== null ? Reflect.get(at, key) : undefined;
  return at;
}

/** A short rendering of a value for an error. */
export function preview(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
