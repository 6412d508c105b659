import { z } from "zod";
import type { JsonSchema } from "./json-schema.js";
import type { ANSWERS, REQUESTS } from "./schemas.js";

/** A method of a path. */
export interface Operation {
  readonly method: "get" | "post" | "delete";
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  /** Names of schemas; a body is one of them. */
  readonly body?: readonly (keyof typeof REQUESTS)[];
  /** In place of a JSON body: the schema of a multipart form. */
  readonly form?: JsonSchema;
  readonly answer?: keyof typeof ANSWERS;
  /** What the data of each event of a stream is. */
  readonly chunk?: keyof typeof ANSWERS;
  /** Needs no key. */
  readonly open?: true;
  /** Needs the admin key. */
  readonly admin?: true;
  readonly parameters?: readonly JsonSchema[];
  /** Answers of other statuses than 200, or that are not JSON. */
  readonly also?: Readonly<Record<string, JsonSchema>>;
}

export function pathParameter(name: string, schema: JsonSchema = { maxLength: 256 }): JsonSchema {
  return { name, in: "path", required: true, schema: { type: "string", ...schema } };
}

/** The fields of a query, none of which has to be there. */
export function queryParameters(schema: z.ZodObject): readonly JsonSchema[] {
  const { properties = {} } = z.toJSONSchema(schema, { io: "input", target: "draft-2020-12", unrepresentable: "any" });
  return Object.entries(properties).map(([name, field]) => ({ name, in: "query", schema: field }));
}

export function reference(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

export function json(description: string, schema: JsonSchema): { readonly description: string; readonly content: JsonSchema } {
  return { description, content: { "application/json": { schema } } };
}
