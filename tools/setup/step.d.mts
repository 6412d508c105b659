/** The path of a program on PATH; undefined when there is none. */
export function findProgram(name: string): string | undefined;
