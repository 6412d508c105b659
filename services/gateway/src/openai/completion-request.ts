import { z } from "zod";
import { invalidField } from "./errors.js";
import { checkTogether, generationFields, tokenIdSchema } from "./request-fields.js";
import { responseFormatSchema } from "./schema-fields.js";

const text = z.string().max(4_194_304);
const tokens = z.array(tokenIdSchema).min(1);

/** Tokens before texts: an array of numbers is one prompt. */
const promptSchema = z.union([text, tokens, z.array(text).min(1), z.array(tokens).min(1)], {
  error: "expected a text, an array of texts, an array of token ids, or an array of arrays of token ids; none of them empty",
});

export const completionRequestSchema = z
  .object({
    ...generationFields,
    prompt: promptSchema,
    max_tokens: z.number().int().min(0).max(0x7fffffff).optional(),
    logprobs: z.number().int().min(0).max(20).optional(),
    echo: z.boolean().optional(),
    best_of: z.number().int().min(1).optional(),
    suffix: z.string().optional(),
    response_format: responseFormatSchema.optional(),
  })
  .superRefine((body, context) => {
    checkTogether(body, context);
    if (body.suffix) context.addIssue({ code: "custom", path: ["suffix"], message: "this model cannot fill in the middle" });
    if (body.best_of !== undefined && body.best_of !== (body.n ?? 1)) {
      context.addIssue({ code: "custom", path: ["best_of"], message: "only best_of equal to n is supported" });
    }
    if (body.max_tokens === 0 && !body.echo) {
      context.addIssue({ code: "custom", path: ["max_tokens"], message: "expected at least 1, or echo" });
    }
  });

export type CompletionRequest = z.output<typeof completionRequestSchema>;

/** A prompt as it was given. */
export type PromptInput = { readonly text: string } | { readonly tokens: readonly number[] };

export function promptsOf({ prompt }: CompletionRequest): readonly PromptInput[] {
  if (typeof prompt === "string") return [{ text: prompt }];
  const [first] = prompt;
  if (typeof first === "number") return [{ tokens: prompt as readonly number[] }];
  return (prompt as readonly (string | readonly number[])[]).map((item) =>
    typeof item === "string" ? { text: item } : { tokens: item },
  );
}

/** @throws AppError INVALID_ARGUMENT. */
export function checkPromptTokens(tokens: ArrayLike<number>, vocabSize: number, field: string): void {
  if (tokens.length === 0) throw invalidField(field, "expected at least one token");
  for (let index = 0; index < tokens.length; index++) {
    if ((tokens[index] ?? -1) >= vocabSize) throw invalidField(`${field}[${index}]`, `expected a token id below ${vocabSize}`);
  }
}
