import type { DeveloperMessage, ResponseFormat } from "./message.js";
import { commentLines, toolsText } from "./tools-text.js";

/**
 * The text of a developer message: instructions, tools, response formats.
 * Sources: openai-harmony 0.0.8; for response formats, which it does not render, the section on structured output of its guide.
 */
export function developerText(message: DeveloperMessage): string {
  const { instructions, functions = [], responseFormats = [] } = message;
  const tools = [...(functions.length === 0 ? [] : [{ name: "functions", functions }]), ...(message.tools ?? [])];
  const sections = [
    ...(instructions === undefined ? [] : [`# Instructions\n\n${instructions}`]),
    ...(tools.length === 0 ? [] : [toolsText(tools)]),
    ...(responseFormats.length === 0 ? [] : [`# Response Formats\n\n${responseFormats.map(formatText).join("\n\n")}`]),
  ];
  return sections.join("\n\n");
}

function formatText({ name, description, schema }: ResponseFormat): string {
  return [`## ${name}\n`, ...commentLines(description), JSON.stringify(schema)].join("\n");
}
