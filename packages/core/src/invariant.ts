/** Thrown when the program's own reasoning is wrong: a bug in Moiety, never bad input. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Asserts what must hold if the code is right. For input use {@link AppError}. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Marks a branch that the types rule out. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable value: ${String(value)}`);
}
