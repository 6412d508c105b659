import { readdirSync } from "node:fs";
import { join } from "node:path";

interface Pattern {
  readonly text: string;
  readonly isException: boolean;
  readonly expression: RegExp;
}

/** The paths of the files and links below a folder that a .dockerignore lets through, sorted. @throws Error at a pattern it does not know. */
export function filesLetThrough(folder: string, dockerIgnore: string): readonly string[] {
  const patterns = patternsOf(dockerIgnore);
  const found: string[] = [];
  const walk = (parent: string) => {
    for (const entry of readdirSync(join(folder, parent), { withFileTypes: true })) {
      const path = join(parent, entry.name);
      const ignored = isIgnored(path, patterns);
      const mayHoldExceptions = patterns.some(({ isException, text }) => isException && text.startsWith(`${path}/`));
      if (entry.isDirectory() && (!ignored || mayHoldExceptions)) walk(path);
      else if (!entry.isDirectory() && !ignored) found.push(path);
    }
  };
  walk("");
  return found.sort();
}

/** The last pattern that matches a path, or a folder that it is in, decides. */
function isIgnored(path: string, patterns: readonly Pattern[]): boolean {
  const names = path.split("/");
  const paths = names.map((_, index) => names.slice(0, index + 1).join("/"));
  const last = patterns.findLast(({ expression }) => paths.some((each) => expression.test(each)));
  return last !== undefined && !last.isException;
}

function patternsOf(text: string): readonly Pattern[] {
  return text.split("\n").flatMap((line) => {
    const pattern = line.trim();
    if (pattern === "" || line.startsWith("#")) return [];
    const isException = pattern.startsWith("!");
    const own = pattern.replace(/^!/, "").replace(/^\/|\/$/g, "");
    if (/[[\]\\]|(^|\/)\.\.?(\/|$)/.test(own)) throw new Error(`.dockerignore: ${pattern} is of a form that is not known here`);
    return [{ text: own, isException, expression: expressionOf(own) }];
  });
}

/** `**` and a slash are any number of folders, none too; `*` and `?` are no slash. */
function expressionOf(pattern: string): RegExp {
  const parts = pattern.split(/(\*\*\/|\*\*|\*|\?)/);
  const meanings: Readonly<Record<string, string>> = { "**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]" };
  return new RegExp(`^${parts.map((part) => meanings[part] ?? part.replaceAll(/[.+^${}()|]/g, "\\$&")).join("")}$`);
}
