import { jsonText } from "./json-text.js";

/** A JSON schema, or any part of one. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * The TypeScript type that the model reads for a JSON schema. Descriptions and defaults become comments; what has no
 * spelling of its own (`anyOf`, `$ref`, `null`) is `any`.
 * Source: `json_schema_to_typescript` of openai-harmony 0.0.8, whose text this equals, oddities included.
 */
export function typescriptType(schema: unknown, indent = ""): string {
  const oneOf = field(schema, "oneOf");
  if (Array.isArray(oneOf)) return oneOf.map((variant) => `\n${indent} | ${unionMember(variant, indent)}`).join("");
  const type = field(schema, "type");
  if (Array.isArray(type)) {
    const names = type.filter((name) => typeof name === "string").map((name) => (name === "integer" ? "number" : name));
    return names.length > 0 ? names.join(" | ") : "any";
  }
  switch (type) {
    case "object":
      return objectType(schema, indent);
    case "string":
      return stringType(schema);
    case "number":
    case "integer":
      return "number";
    case "boolean":
      return "boolean";
    case "array":
      return has(schema, "items") ? `${typescriptType(field(schema, "items"), indent)}[]` : "Array<any>";
    default:
      return "any";
  }
}

function unionMember(variant: unknown, indent: string): string {
  const comments = [text(variant, "description"), defaultComment(variant, JSON.stringify)];
  return memberType(variant, `${indent}   `) + trailingComment(comments);
}

function stringType(schema: unknown): string {
  const values = list(schema, "enum").filter((value) => typeof value === "string");
  return values.length > 0 ? values.map((value) => `"${value}"`).join(" | ") : "string";
}

function objectType(schema: unknown, indent: string): string {
  const description = text(schema, "description");
  const required = new Set(list(schema, "required"));
  const properties = field(schema, "properties");
  const lines = Object.entries(isRecord(properties) ? properties : {}).map(([key, value]) => {
    const name = `${indent}${key}${required.has(key) ? "" : "?"}:`;
    const oneOf = field(value, "oneOf");
    const notes = propertyNotes(value, indent);
    return (
      notes + (Array.isArray(oneOf) ? unionProperty({ name, value, variants: oneOf, indent }) : property(name, value, indent))
    );
  });
  return `${comment(description, indent)}{\n${lines.join("")}${indent}}`;
}

function propertyNotes(value: unknown, indent: string): string {
  const title = text(value, "title");
  const examples = list(value, "examples");
  const shown = examples.filter((example) => typeof example === "string").map((example) => `${indent}// - "${example}"\n`);
  return [
    title === undefined ? "" : `${indent}// ${title}\n${indent}//\n`,
    has(value, "oneOf") ? "" : comment(text(value, "description"), indent),
    examples.length > 0 ? `${indent}// Examples:\n${shown.join("")}` : "",
  ].join("");
}

function property(name: string, value: unknown, indent: string): string {
  const remark = has(value, "oneOf") ? undefined : defaultComment(value, String);
  return `${name} ${memberType(value, `${indent}    `)},${trailingComment([remark])}\n`;
}

interface UnionProperty {
  /** With indentation, `?` and `:`. */
  readonly name: string;
  readonly value: unknown;
  readonly variants: readonly unknown[];
  readonly indent: string;
}

function unionProperty({ name, value, variants, indent }: UnionProperty): string {
  const description = text(value, "description");
  const above = description !== undefined && description !== text(variants[0], "description");
  const members = variants.map((variant, index) => {
    const own = text(variant, "description");
    const said = (index === 0 && above) || own === description ? undefined : own;
    const comments = [said, defaultComment(variant, String)];
    return `${indent} | ${memberType(variant, `${indent}   `)}${trailingComment(comments)}\n`;
  });
  const notes = comment(above ? description : undefined, indent) + comment(defaultComment(value, String), indent);
  return `${notes}${name}\n${members.join("")}${indent},\n`;
}

function memberType(schema: unknown, indent: string): string {
  const type = typescriptType(schema, indent);
  return field(schema, "nullable") === true && !type.includes("null") ? `${type} | null` : type;
}

/** `ofEnum` spells a text that is the default of an enum. */
function defaultComment(schema: unknown, ofEnum: (value: string) => string): string | undefined {
  if (!has(schema, "default")) return undefined;
  const value = field(schema, "default");
  if (typeof value !== "string") return `default: ${jsonText(value)}`;
  return `default: ${list(schema, "enum").length > 0 ? ofEnum(value) : `"${value}"`}`;
}

function comment(line: string | undefined, indent: string): string {
  return line === undefined ? "" : `${indent}// ${line}\n`;
}

function trailingComment(parts: readonly (string | undefined)[]): string {
  const said = parts.filter((part) => part !== undefined);
  return said.length > 0 ? ` // ${said.join(" ")}` : "";
}

function isRecord(value: unknown): value is JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function has(schema: unknown, key: string): boolean {
  return isRecord(schema) && Object.hasOwn(schema, key);
}

function field(schema: unknown, key: string): unknown {
  return isRecord(schema) && Object.hasOwn(schema, key) ? schema[key] : undefined;
}

function text(schema: unknown, key: string): string | undefined {
  const value = field(schema, key);
  return typeof value === "string" ? value : undefined;
}

function list(schema: unknown, key: string): readonly unknown[] {
  const value = field(schema, key);
  return Array.isArray(value) ? value : [];
}
