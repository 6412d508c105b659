import { HarmonyError } from "./harmony-error.js";
import type { FunctionDefinition, Message, ToolNamespace } from "./message.js";

/** What may stand in a header: a space would start the next part of it. */
const HEADER_WORD = /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}_.:/-]{0,127}$/u;

/** JSON within JSON, as serde_json reads it for openai-harmony. */
const MAX_SCHEMA_DEPTH = 128;

/** The word itself. @throws HarmonyError for what is not one word of a header. */
export function headerWord(word: string, field: string): string {
  if (HEADER_WORD.test(word)) return word;
  throw new HarmonyError(field, "expected 1 to 128 letters, digits or _ . : / - that begin with a letter, digit or _");
}

/**
 * Checks what a message declares: names that calls or answers would carry in a header, and that stand on a line of their own in the
 * prompt; namespaces that are told apart; schemas that are not too deep.
 * @throws HarmonyError naming the field.
 */
export function checkDeclarations(message: Message, field: string): void {
  if (message.role !== "system" && message.role !== "developer") return;
  const names = new Set<string>();
  const functions = message.role === "developer" ? (message.functions ?? []) : [];
  if (functions.length > 0) names.add("functions");
  checkFunctions(functions, `${field}.functions`);
  for (const [index, namespace] of (message.tools ?? []).entries()) {
    checkNamespace(namespace, `${field}.tools[${index}]`, names);
  }
  const formats = message.role === "developer" ? (message.responseFormats ?? []) : [];
  for (const [index, { name, schema }] of formats.entries()) {
    headerWord(name, `${field}.responseFormats[${index}].name`);
    checkDepth(schema, `${field}.responseFormats[${index}].schema`);
  }
}

function checkNamespace(namespace: ToolNamespace, field: string, names: Set<string>): void {
  headerWord(namespace.name, `${field}.name`);
  if (names.has(namespace.name))
    throw new HarmonyError(`${field}.name`, "expected a name that no other namespace of the message has");
  names.add(namespace.name);
  checkFunctions(namespace.functions, `${field}.functions`);
}

function checkFunctions(functions: readonly FunctionDefinition[], field: string): void {
  for (const [index, { name, parameters }] of functions.entries()) {
    headerWord(name, `${field}[${index}].name`);
    checkDepth(parameters, `${field}[${index}].parameters`);
  }
}

/** Without recursion, so that no input exhausts the stack. Deepest first, so that an object that contains itself ends it too. */
function checkDepth(value: unknown, field: string): void {
  const open = [{ value, depth: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next.value !== "object" || next.value === null) continue;
    const depth = next.depth + 1;
    if (depth > MAX_SCHEMA_DEPTH)
      throw new HarmonyError(field, `expected at most ${MAX_SCHEMA_DEPTH} levels of objects and lists`);
    for (const inner of Object.values(next.value)) open.push({ value: inner, depth });
  }
}
