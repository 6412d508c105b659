import { AppError } from "@moiety/core";

const MAX_DEPTH = 64;
const MAX_VALUES = 2_000_000;

/** Refuses bodies that are nested too deeply or hold too many values. Walks level by level, so that depth costs no stack. */
export function checkBodyShape(body: unknown): void {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new AppError("INVALID_ARGUMENT", "the body must be a JSON object", { details: { openaiCode: "invalid_json" } });
  }
  let level: object[] = [body];
  let values = 0;
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw tooLarge(`is nested more than ${MAX_DEPTH} levels deep`);
    values += level.reduce((sum, container) => sum + childrenOf(container).length, 0);
    if (values > MAX_VALUES) throw tooLarge(`holds more than ${MAX_VALUES} values`);
    level = level.flatMap((container) => childrenOf(container).filter(isContainer));
  }
}

export const isContainer = (value: unknown): value is object => typeof value === "object" && value !== null;
export const childrenOf = (container: object): readonly unknown[] =>
  Array.isArray(container) ? container : Object.values(container);

const tooLarge = (why: string): AppError =>
  new AppError("INVALID_ARGUMENT", `the body ${why}`, { details: { openaiCode: "body_too_complex" } });
