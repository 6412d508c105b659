import type { DeveloperMessage, FunctionDefinition, ResponseFormat } from "./message.js";
import { typescriptType } from "./typescript-type.js";

/**
 * The text of a developer message: instructions, functions, response formats.
 * Sources: openai-harmony 0.0.8; for response formats, which it does not render, the section on structured output of its guide.
 */
export function developerText(message: DeveloperMessage): string {
  const { instructions, functions = [], responseFormats = [] } = message;
  const sections = [
    ...(instructions === undefined ? [] : [`# Instructions\n\n${instructions}`]),
    ...(functions.length === 0 ? [] : [`# Tools\n\n${functionsText(functions)}`]),
    ...(responseFormats.length === 0 ? [] : [`# Response Formats\n\n${responseFormats.map(formatText).join("\n\n")}`]),
  ];
  return sections.join("\n\n");
}

function functionsText(functions: readonly FunctionDefinition[]): string {
  const types = functions.map(({ name, description, parameters }) => {
    const type = parameters === undefined ? "()" : `(_: ${typescriptType(parameters)})`;
    return `${comments(description)}type ${name} = ${type} => any;\n\n`;
  });
  return `## functions\n\nnamespace functions {\n\n${types.join("")}} // namespace functions`;
}

function formatText({ name, description, schema }: ResponseFormat): string {
  return `## ${name}\n\n${comments(description)}${JSON.stringify(schema)}`;
}

function comments(description = ""): string {
  return linesOf(description)
    .map((line) => `// ${line}\n`)
    .join("");
}

/** Lines without their ends, `\n` or `\r\n`; none after the last end. */
function linesOf(text: string): readonly string[] {
  const lines = text.split("\n");
  const last = lines.pop() ?? "";
  const ended = lines.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  return last === "" ? ended : [...ended, last];
}
