import { z } from "zod";
import { refused } from "../openai/refused-fields.js";
import { inputSchema } from "./input-items.js";

const MAX_COUNT = 0x7fffffff;
const INCLUDABLE = [
  "reasoning.encrypted_content",
  "message.output_text.logprobs",
  "message.input_image.image_url",
  "file_search_call.results",
  "web_search_call.results",
  "web_search_call.action.sources",
  "code_interpreter_call.outputs",
  "computer_call_output.output.image_url",
] as const;

const summary = z.enum(["auto", "concise", "detailed"], { error: 'expected "auto", "concise" or "detailed"' }).nullish();

/** What `/v1/responses` spells otherwise than chats do; what both spell alike is left to the chat's schema. */
export const responseRequestSchema = z
  .object({
    input: inputSchema,
    instructions: z.string().max(4_194_304).optional(),
    previous_response_id: z.string().max(256).optional(),
    background: z.boolean().optional(),
    store: z.boolean().optional(),
    stream: z.boolean().optional(),
    stream_options: z.object({ include_obfuscation: z.boolean().nullish() }).optional(),
    max_output_tokens: z.number().int().min(1).max(MAX_COUNT).optional(),
    /** Of built-in tools, which this server has not. */
    max_tool_calls: z.number().int().min(1).max(MAX_COUNT).optional(),
    reasoning: z
      .object({
        effort: z.enum(["low", "medium", "high"], { error: 'expected "low", "medium" or "high"' }).nullish(),
        summary,
        generate_summary: summary,
      })
      .optional(),
    text: z
      .object({
        format: z.record(z.string(), z.unknown(), { error: "expected an object" }).nullish(),
        verbosity: z.enum(["low", "medium", "high"], { error: 'expected "low", "medium" or "high"' }).nullish(),
      })
      .optional(),
    tools: z.array(z.record(z.string(), z.unknown(), { error: "expected an object" })).optional(),
    tool_choice: z.union([z.string(), z.record(z.string(), z.unknown())], { error: "expected a text or an object" }).optional(),
    include: z
      .array(z.enum(INCLUDABLE, { error: `expected one of ${INCLUDABLE.join(", ")}` }))
      .max(64)
      .optional(),
    top_logprobs: z.number().int().min(0).max(20).optional(),
    truncation: z.literal("disabled", { error: 'expected "disabled": prompts are not cut' }).optional(),
    conversation: refused("conversations are not stored by name here: use previous_response_id"),
    prompt: refused("prompt templates are not available: send instructions and input"),
    context_management: refused("contexts are not compacted here"),
    moderation: refused("gpt-oss is no classifier of content: moderations are not available"),
  })
  .superRefine((body, context) => {
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (body.background && body.store === false) refuse("background", "expected store to be true as well");
    if (body.stream_options !== undefined && body.stream !== true) {
      refuse("stream_options", "expected stream to be true as well");
    }
  });

export type ResponseRequest = z.output<typeof responseRequestSchema>;
