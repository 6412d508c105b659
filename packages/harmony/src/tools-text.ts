import type { ToolNamespace } from "./message.js";
import { typescriptType } from "./typescript-type.js";

/** The section on tools of a system or a developer message, namespaces by name. Source: openai-harmony 0.0.8. */
export function toolsText(namespaces: readonly ToolNamespace[]): string {
  const sorted = [...namespaces].sort((left, right) => (left.name < right.name ? -1 : 1));
  return ["# Tools", ...sorted.map(namespaceText)].join("\n\n");
}

function namespaceText({ name, description, functions }: ToolNamespace): string {
  const lines = [`## ${name}\n`];
  if (functions.length === 0) return [...lines, ...linesOf(description)].join("\n");
  const types = functions.flatMap((definition) => {
    const { parameters } = definition;
    const type = parameters === undefined ? "()" : `(_: ${typescriptType(parameters)})`;
    return [...commentLines(definition.description), `type ${definition.name} = ${type} => any;\n`];
  });
  return [...lines, ...commentLines(description), `namespace ${name} {\n`, ...types, `} // namespace ${name}`].join("\n");
}

/** Each line after `// `. */
export function commentLines(text: string | undefined): readonly string[] {
  return linesOf(text).map((line) => `// ${line}`);
}

/** Lines without their ends, `\n` or `\r\n`; none after the last end. */
function linesOf(text = ""): readonly string[] {
  const lines = text.split("\n");
  const last = lines.pop() ?? "";
  const ended = lines.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  return last === "" ? ended : [...ended, last];
}
