import { AppError } from "@moiety/core";
import { z } from "zod";
import { invalidField } from "./errors.js";
import { grammarFields } from "./grammar-fields.js";
import { refusedGenerationFields } from "./refused-fields.js";

const STOP_STRINGS = 4;
const MAX_STOP_LENGTH = 1_024;
const MAX_ID = 0x7fffffff;
const METADATA_PAIRS = 16;
const TIERS = ["auto", "default", "flex", "scale", "priority"] as const;

export const tokenIdSchema = z.number().int().min(0).max(MAX_ID);

const stopSchema = z.union(
  [z.string().min(1).max(MAX_STOP_LENGTH), z.array(z.string().min(1).max(MAX_STOP_LENGTH)).max(STOP_STRINGS)],
  { error: `expected a string, or at most ${STOP_STRINGS} strings, of 1 to ${MAX_STOP_LENGTH} characters` },
);

const seedSchema = z
  .number()
  .int({ error: "expected an integer" })
  .min(-(2 ** 63))
  .max(2 ** 64);

const logitBiasSchema = z.record(z.string().regex(/^\d{1,10}$/, "expected token ids as keys"), z.number().min(-100).max(100));

/** As OpenAI's API bounds it. Nothing is stored yet, so that it is only checked. */
export const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= METADATA_PAIRS, `expected at most ${METADATA_PAIRS} pairs`);

/** Fields that `/v1/chat/completions` and `/v1/completions` share. Whatever is not named is ignored. */
export const generationFields = {
  model: z.string().max(256).optional(),
  stream: z.boolean().optional(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).optional(),
  n: z.number().int().min(1).optional(),
  stop: stopSchema.optional(),
  stop_token_ids: z.array(tokenIdSchema).max(1_024).optional(),
  seed: seedSchema.optional(),
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  top_k: z.number().int().min(-1).max(MAX_ID).optional(),
  min_p: z.number().min(0).max(1).optional(),
  presence_penalty: z.number().min(-2).max(2).optional(),
  frequency_penalty: z.number().min(-2).max(2).optional(),
  repetition_penalty: z.number().gt(0).max(10).optional(),
  logit_bias: logitBiasSchema.refine((bias) => Object.keys(bias).length <= 1_024, "expected at most 1024 tokens").optional(),
  min_tokens: z.number().int().min(0).max(MAX_ID).optional(),
  ignore_eos: z.boolean().optional(),
  priority: z.number().int().min(-1_000).max(1_000).optional(),
  /** There is one tier: any is served, and the answer says `default`. */
  service_tier: z.enum(TIERS, { error: `expected one of ${TIERS.join(", ")}` }).optional(),
  user: z.string().max(1_024).optional(),
  safety_identifier: z.string().max(1_024).optional(),
  prompt_cache_key: z.string().max(1_024).optional(),
  metadata: metadataSchema.optional(),
  store: z.boolean().optional(),
  cache_salt: z.string().min(1).max(256).optional(),
  return_token_ids: z.boolean().optional(),
  ...grammarFields,
  ...refusedGenerationFields,
};

export type GenerationFields = z.output<z.ZodObject<typeof generationFields>>;

/** What no field can be faulted for by itself. */
export function checkTogether(body: GenerationFields, context: z.RefinementCtx): void {
  if (body.stream_options !== undefined && body.stream !== true) {
    context.addIssue({ code: "custom", path: ["stream_options"], message: "expected stream to be true as well" });
  }
}

/** OpenAI's clients send null for "not given". */
function withoutNulls(body: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

/** Parses a body. @throws AppError INVALID_ARGUMENT that names the first field at fault, as `messages[2].content`. */
export function parseBody<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const result = schema.safeParse(withoutNulls(body as object));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (!issue) throw new AppError("INVALID_ARGUMENT", "the body is not what this endpoint expects");
  throw invalidField(pathOf(issue.path) || "body", issue.message);
}

function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : index === 0 ? String(part) : `.${String(part)}`))
    .join("");
}
