import { z } from "zod";
import { refusedChatFields } from "./refused-fields.js";
import { checkTogether, generationFields } from "./request-fields.js";
import { responseFormatSchema } from "./schema-fields.js";
import { toolFields } from "./tool-fields.js";

const MAX_TEXT = 4_194_304;
const text = z.string().max(MAX_TEXT);

const textPart = z
  .object({ type: z.string().meta({ enum: ["text", "refusal"] }), text: text.nullish(), refusal: text.nullish() })
  .refine((part) => part.type === "text" || part.type === "refusal", {
    path: ["type"],
    error: 'expected "text": this model reads and writes text only',
  })
  .transform((part) => part.text ?? part.refusal ?? "");

const textParts = z
  .array(textPart)
  .max(4_096)
  .transform((parts) => parts.join(""));
/** Parsed apart, so that a fault in a part is named by its place. */
function textContent(schema: z.ZodType<string>) {
  const { $schema: _, ...jsonSchema } = z.toJSONSchema(schema, { io: "input" });
  return z
    .unknown()
    .meta(jsonSchema)
    .transform((value, context) => {
      const result = (Array.isArray(value) ? textParts : schema).safeParse(value);
      if (result.success) return result.data;
      const [issue] = result.error.issues;
      context.addIssue({ code: "custom", path: [...(issue?.path ?? [])], message: issue?.message ?? "expected a text" });
      return z.NEVER;
    });
}
const EXPECTED = "expected a text, or an array of text parts";
const content = textContent(z.union([text, textParts], { error: EXPECTED }));
const contentOrNull = textContent(z.union([text, textParts, z.null().transform(() => "")], { error: `${EXPECTED}, or null` }));

const name = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/, "expected 1 to 64 characters of A-Z a-z 0-9 _ . -")
  .nullish();
const toolCall = z.object({
  id: z.string().max(256),
  type: z.literal("function").optional(),
  function: z.object({
    // Wider than what a declaration may be named: models, and other servers, also call what nobody declared.
    name: z.string().regex(/^[A-Za-z0-9_.:-]{1,118}$/, "expected 1 to 118 characters of A-Z a-z 0-9 _ . : -"),
    arguments: text,
  }),
});

const messageSchema = z.discriminatedUnion(
  "role",
  [
    z.object({ role: z.literal("system"), content, name }),
    z.object({ role: z.literal("developer"), content, name }),
    z.object({ role: z.literal("user"), content, name }),
    z.object({
      role: z.literal("assistant"),
      content: contentOrNull.optional(),
      reasoning: text.nullish(),
      reasoning_content: text.nullish(),
      tool_calls: z.array(toolCall).max(256).nullish(),
      name,
    }),
    z.object({ role: z.literal("tool"), content, tool_call_id: z.string().max(256) }),
  ],
  { error: 'expected "system", "developer", "user", "assistant" or "tool"' },
);

export type ChatMessage = z.output<typeof messageSchema>;

/** What a chat's prompt is made of. */
export const chatPromptFields = {
  messages: z.array(messageSchema).min(1, "expected at least one message").max(16_384),
  reasoning_effort: z.enum(["low", "medium", "high"], { error: 'expected "low", "medium" or "high"' }).optional(),
  ...toolFields,
  response_format: responseFormatSchema.optional(),
};

export type ChatPromptFields = z.output<z.ZodObject<typeof chatPromptFields>>;

export const chatRequestSchema = z
  .object({
    ...generationFields,
    ...chatPromptFields,
    ...refusedChatFields,
    max_tokens: z.number().int().min(1).max(0x7fffffff).optional(),
    max_completion_tokens: z.number().int().min(1).max(0x7fffffff).optional(),
    logprobs: z.boolean().optional(),
    top_logprobs: z.number().int().min(0).max(20).optional(),
    include_reasoning: z.boolean().optional(),
  })
  .superRefine((body, context) => {
    checkTogether(body, context);
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (body.top_logprobs !== undefined && !body.logprobs) refuse("top_logprobs", "expected logprobs to be true as well");
  });

export type ChatRequest = z.output<typeof chatRequestSchema>;
