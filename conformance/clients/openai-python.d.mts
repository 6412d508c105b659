import type { Subject } from "../cluster.mjs";

/** The Python that MOIETY_PYTHON names, else one of our own or `python3`, if it has the official client. */
export function pythonWithClient(): string | undefined;

/** The command that runs every feature, and the environment that it needs. */
export function pythonCheck(
  python: string,
  subject: Subject,
): { readonly command: readonly string[]; readonly env: Readonly<Record<string, string>> };
