import { type ContentGrammar, type JsonSchema, MAX_PATTERN_LENGTH } from "@moiety/grammar";
import { z } from "zod";
import { invalidField } from "./errors.js";
import { jsonSchema, type responseFormatSchema, textSchema } from "./schema-fields.js";

const MAX_CHOICES = 4_096;

const pattern = z.string().min(1, "expected a text that is not empty").max(MAX_PATTERN_LENGTH);
const words = z.array(z.string().min(1).max(MAX_PATTERN_LENGTH)).min(1).max(MAX_CHOICES);
/** vLLM takes a schema as text as well. */
const json = z.union([jsonSchema, textSchema], {
  error: "expected a JSON schema: an object of at most 32 levels and 524288 characters",
});

/** What an answer is held to, in vLLM's words. */
export const grammarFields = {
  structured_outputs: z
    .strictObject(
      {
        json: json.nullish(),
        json_object: z.literal(true, { error: "expected true" }).nullish(),
        regex: pattern.nullish(),
        choice: words.nullish(),
        grammar: pattern.nullish(),
      },
      {
        error: ({ code }) => (code === "unrecognized_keys" ? "expected json, json_object, regex, choice or grammar" : undefined),
      },
    )
    .optional(),
  /** Names that vLLM had before `structured_outputs`. */
  guided_json: json.optional(),
  guided_regex: pattern.optional(),
  guided_choice: words.optional(),
  guided_grammar: pattern.optional(),
};

export interface GrammarFields extends z.output<z.ZodObject<typeof grammarFields>> {
  readonly response_format?: z.output<typeof responseFormatSchema> | undefined;
}

/** A content that a client asked for, and the field that it asked in. */
export interface AskedContent {
  readonly field: string;
  readonly content: ContentGrammar;
}

const jsonContent = (schema: JsonSchema | null | undefined): ContentGrammar => ({ kind: "json", schema: schema ?? {} });

/** What the answer is to be held to; absent: nothing. @throws AppError INVALID_ARGUMENT when two fields say so. */
export function askedContent(body: GrammarFields): AskedContent | undefined {
  const asked = [...fromResponseFormat(body), ...fromStructuredOutputs(body), ...fromGuided(body)];
  const [first, second] = asked;
  if (first && second)
    throw invalidField(second.field, `expected one of these: ${first.field} says already what the answer is to be`);
  return first;
}

function fromResponseFormat({ response_format: format }: GrammarFields): readonly AskedContent[] {
  switch (format?.type) {
    case undefined:
    case "text":
      return [];
    case "json_object":
      return [{ field: "response_format", content: jsonContent({ type: "object" }) }];
    case "json_schema":
      return [{ field: "response_format.json_schema.schema", content: jsonContent(format.json_schema.schema) }];
  }
}

function fromStructuredOutputs({ structured_outputs: asked }: GrammarFields): readonly AskedContent[] {
  if (asked === undefined) return [];
  const given: AskedContent[] = [];
  const add = (key: string, content: ContentGrammar) => given.push({ field: `structured_outputs.${key}`, content });
  if (asked.json) add("json", jsonContent(asked.json));
  if (asked.json_object) add("json_object", jsonContent({ type: "object" }));
  if (asked.regex) add("regex", { kind: "regex", regex: asked.regex });
  if (asked.choice) add("choice", { kind: "choice", words: asked.choice });
  if (asked.grammar) add("grammar", { kind: "grammar", text: asked.grammar });
  if (given.length === 0) throw invalidField("structured_outputs", "expected json, json_object, regex, choice or grammar");
  return given;
}

function fromGuided(body: GrammarFields): readonly AskedContent[] {
  const { guided_json, guided_regex, guided_choice, guided_grammar } = body;
  return [
    ...(guided_json === undefined ? [] : [{ field: "guided_json", content: jsonContent(guided_json) }]),
    ...(guided_regex === undefined ? [] : [{ field: "guided_regex", content: { kind: "regex", regex: guided_regex } as const }]),
    ...(guided_choice === undefined
      ? []
      : [{ field: "guided_choice", content: { kind: "choice", words: guided_choice } as const }]),
    ...(guided_grammar === undefined
      ? []
      : [{ field: "guided_grammar", content: { kind: "grammar", text: guided_grammar } as const }]),
  ];
}
