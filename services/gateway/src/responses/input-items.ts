import { z } from "zod";
import { unseal } from "./reasoning-seal.js";
import type { FunctionCallItem, MessageItem, ReasoningItem } from "./response-object.js";

const MAX_TEXT = 4_194_304;
const MAX_ITEMS = 16_384;
const MAX_PARTS = 4_096;
const text = z.string().max(MAX_TEXT);
const id = z.string().min(1).max(256).nullish();
const status = z.enum(["in_progress", "completed", "incomplete"]).nullish();

export interface TextPart {
  readonly type: "input_text" | "output_text";
  readonly text: string;
}

export interface RefusalPart {
  readonly type: "refusal";
  readonly refusal: string;
}

/** A message that a client sent, or an earlier answer that it sent back. */
export interface InputMessage {
  readonly id?: string;
  readonly type: "message";
  readonly role: "user" | "assistant" | "system" | "developer";
  readonly status: "completed";
  readonly content: readonly (TextPart | RefusalPart)[];
}

export interface InputReasoning {
  readonly id?: string;
  readonly type: "reasoning";
  readonly summary: readonly { readonly type: "summary_text"; readonly text: string }[];
  readonly content: readonly { readonly type: "reasoning_text"; readonly text: string }[];
}

export interface InputCall extends Omit<FunctionCallItem, "id" | "status"> {
  readonly id?: string;
  readonly status: "completed";
}

export interface InputCallOutput {
  readonly id?: string;
  readonly type: "function_call_output";
  readonly call_id: string;
  readonly output: string | readonly TextPart[];
  readonly status: "completed";
}

export interface ItemReference {
  readonly type: "item_reference";
  readonly id: string;
}

export type InputItem = InputMessage | InputReasoning | InputCall | InputCallOutput;
/** Anything that a conversation is made of. */
export type ConversationItem = InputItem | MessageItem | ReasoningItem | FunctionCallItem;

const part = z
  .object({ type: z.string(), text: text.optional(), refusal: text.optional() })
  .refine(({ type }) => ["input_text", "output_text", "text", "refusal"].includes(type), {
    path: ["type"],
    error: 'expected "input_text" or "output_text": this model reads and writes text only',
  })
  .refine((value) => (value.type === "refusal" ? value.refusal : value.text) !== undefined, {
    path: ["text"],
    error: "expected a text",
  });
const parts = z.array(part).max(MAX_PARTS);

/** A text, or parts of it; a fault in a part is named by its place. */
const content = z.unknown().transform((value, context): string | z.output<typeof parts> => {
  const schema = Array.isArray(value) ? parts : text;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const message = Array.isArray(value) ? issue?.message : "expected a text, or an array of text parts";
  context.addIssue({ code: "custom", path: [...(issue?.path ?? [])], message: message ?? "expected a text" });
  return z.NEVER;
});

const withId = (given: string | null | undefined): { readonly id?: string } => (given ? { id: given } : {});

const message = z
  .object({
    role: z.enum(["user", "assistant", "system", "developer"], {
      error: 'expected "user", "assistant", "system" or "developer"',
    }),
    content,
    id,
    status,
  })
  .transform((item): InputMessage => {
    const type = item.role === "assistant" ? "output_text" : "input_text";
    const given: z.output<typeof parts> = typeof item.content === "string" ? [{ type, text: item.content }] : item.content;
    const shown = given.map((one): TextPart | RefusalPart =>
      one.type === "refusal" ? { type: "refusal", refusal: one.refusal ?? "" } : { type, text: one.text ?? "" },
    );
    return { ...withId(item.id), type: "message", role: item.role, status: "completed", content: shown };
  });

const functionCall = z.object({ call_id: z.string().min(1).max(256), name: z.string(), arguments: text, id, status }).transform(
  (item): InputCall => ({
    ...withId(item.id),
    type: "function_call",
    call_id: item.call_id,
    name: item.name,
    arguments: item.arguments,
    status: "completed",
  }),
);

const functionCallOutput = z
  .object({ call_id: z.string().min(1).max(256), output: content, id, status })
  .transform((item): InputCallOutput => {
    const output =
      typeof item.output === "string"
        ? item.output
        : item.output.map((one): TextPart => ({ type: "input_text", text: one.text ?? one.refusal ?? "" }));
    return { ...withId(item.id), type: "function_call_output", call_id: item.call_id, output, status: "completed" };
  });

const reasoning = z
  .object({
    id,
    status,
    summary: z
      .array(z.object({ type: z.literal("summary_text"), text }))
      .max(MAX_PARTS)
      .nullish(),
    content: z
      .array(z.object({ type: z.enum(["reasoning_text", "text"]), text }))
      .max(MAX_PARTS)
      .nullish(),
    encrypted_content: z
      .string()
      .max(2 * MAX_TEXT)
      .refine((sealed) => unseal(sealed) !== undefined, "expected what this server gave: another's cannot be read here")
      .nullish(),
  })
  .transform((item): InputReasoning => {
    const sealed = item.encrypted_content ? unseal(item.encrypted_content) : undefined;
    const thoughts = item.content && item.content.length > 0 ? item.content.map((one) => one.text) : sealed ? [sealed] : [];
    return {
      ...withId(item.id),
      type: "reasoning",
      summary: item.summary ?? [],
      content: thoughts.map((thought) => ({ type: "reasoning_text", text: thought })),
    };
  });

const itemReference = z
  .object({ id: z.string().min(1).max(256) })
  .transform((item): ItemReference => ({ type: "item_reference", id: item.id }));

const SCHEMAS: Readonly<Record<string, z.ZodType<InputItem | ItemReference>>> = {
  message,
  function_call: functionCall,
  function_call_output: functionCallOutput,
  reasoning,
  item_reference: itemReference,
};
const EXPECTED =
  'expected "message", "function_call", "function_call_output", "reasoning" or "item_reference": items of other kinds are not available';

/** Messages may leave their type out, and so may references, which have nothing but an id. */
function typeOf(item: unknown): unknown {
  if (typeof item !== "object" || item === null) return undefined;
  const { type, role, id: given } = item as { type?: unknown; role?: unknown; id?: unknown };
  if (type !== undefined && type !== null) return type;
  return role === undefined && given !== undefined ? "item_reference" : "message";
}

const item = z.unknown().transform((value, context): InputItem | ItemReference => {
  const type = typeOf(value);
  const schema = typeof type === "string" && Object.hasOwn(SCHEMAS, type) ? SCHEMAS[type] : undefined;
  if (!schema) {
    const isObject = type !== undefined;
    context.addIssue({ code: "custom", path: isObject ? ["type"] : [], message: isObject ? EXPECTED : "expected an item" });
    return z.NEVER;
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  context.addIssue({ code: "custom", path: [...(issue?.path ?? [])], message: issue?.message ?? "expected an item" });
  return z.NEVER;
});

const items = z.array(item).max(MAX_ITEMS, `expected at most ${MAX_ITEMS} items`);

const inputJsonSchema = {
  anyOf: [
    { type: "string", maxLength: MAX_TEXT },
    { type: "array", maxItems: MAX_ITEMS, items: { type: "object", properties: { type: { enum: Object.keys(SCHEMAS) } } } },
  ],
} as const;

/** What `input` may be; a text is the message of a user. */
export const inputSchema = z
  .unknown()
  .meta(inputJsonSchema)
  .transform((value, context): readonly (InputItem | ItemReference)[] => {
    if (Array.isArray(value)) {
      const result = items.safeParse(value);
      if (result.success) return result.data;
      const [issue] = result.error.issues;
      context.addIssue({ code: "custom", path: [...(issue?.path ?? [])], message: issue?.message ?? "expected items" });
      return z.NEVER;
    }
    const result = text.safeParse(value);
    if (result.success) {
      const content = [{ type: "input_text", text: result.data } as const];
      return [{ type: "message", role: "user", status: "completed", content }];
    }
    context.addIssue({ code: "custom", message: "expected a text, or an array of items" });
    return z.NEVER;
  });
