import { configFault } from "./config-fault.js";

/** A value and the field that gave it; absent and null mean that the file does not say. */
export type Candidate<T> = readonly [field: string, value: T | null | undefined];

export type Given<T> = readonly [field: string, value: T];

/** Every candidate that says something, after checking that all of them say the same. */
function givenOnce<T>(file: string, candidates: readonly Candidate<T>[]): Given<T> | undefined {
  const given = candidates.filter((candidate): candidate is Given<T> => candidate[1] !== undefined && candidate[1] !== null);
  const [first] = given;
  if (first === undefined) return undefined;
  const other = given.find(([, value]) => value !== first[1]);
  if (other === undefined) return first;
  throw configFault(file, other[0], `${String(other[1])} contradicts ${first[0]}, which is ${String(first[1])}`);
}

/** The one value that several spellings of a field agree on. INVALID_ARGUMENT if they differ or none is there. */
export function requiredValue<T>(file: string, candidates: readonly Candidate<T>[], expected: string): T {
  const given = givenOnce(file, candidates);
  if (given !== undefined) return given[1];
  throw configFault(file, candidates.map(([field]) => field).join(" or "), `missing; expected ${expected}`);
}

/** Like {@link requiredValue}, but `fallback` where no spelling says anything. */
export function valueOr<T>(file: string, candidates: readonly Candidate<T>[], fallback: T): T {
  return givenOnce(file, candidates)?.[1] ?? fallback;
}
