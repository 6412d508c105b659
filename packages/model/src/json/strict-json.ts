import { AppError } from "@moiety/core";

export interface StrictJsonOptions {
  /** Named in errors. */
  readonly file: string;
  /** Deepest nesting of objects and arrays. */
  readonly maxDepth: number;
}

/**
 * JSON.parse that refuses what JSON.parse lets pass: a name given twice in one object, and deep nesting.
 * Throws INVALID_ARGUMENT that names the file.
 */
export function parseStrictJson(text: string, options: StrictJsonOptions): unknown {
  checkDepth(text, options);
  const value = parse(text, options.file);
  checkDuplicateNames(text, options.file);
  return value;
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError("INVALID_ARGUMENT", `${file}: not valid JSON`, { details: { file }, cause });
  }
}

function checkDepth(text: string, { file, maxDepth }: StrictJsonOptions): void {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') i = endOfString(text, i);
    else if (character === "{" || character === "[") depth += 1;
    else if (character === "}" || character === "]") depth -= 1;
    if (depth > maxDepth) {
      throw new AppError("INVALID_ARGUMENT", `${file}: JSON nested deeper than ${maxDepth} levels`, { details: { file } });
    }
  }
}

/** `text` is valid JSON by now, so a string before a colon is a name. */
function checkDuplicateNames(text: string, file: string): void {
  const namesByDepth: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{" || character === "[") namesByDepth.push(new Set());
    else if (character === "}" || character === "]") namesByDepth.pop();
    else if (character === '"') {
      const end = endOfString(text, i);
      if (isFollowedByColon(text, end)) addName(namesByDepth, JSON.parse(text.slice(i, end + 1)) as string, file);
      i = end;
    }
  }
}

function addName(namesByDepth: readonly Set<string>[], name: string, file: string): void {
  const names = namesByDepth.at(-1);
  if (names === undefined) return;
  if (names.has(name)) {
    const field = name.slice(0, 200);
    throw new AppError("INVALID_ARGUMENT", `${file}: "${field}" is given twice`, { details: { file, field } });
  }
  names.add(name);
}

function isFollowedByColon(text: string, end: number): boolean {
  let i = end + 1;
  while (i < text.length && " \t\r\n".includes(text[i] as string)) i += 1;
  return text[i] === ":";
}

/** Index of the closing quote, or of the text's end if there is none. */
function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i;
}
