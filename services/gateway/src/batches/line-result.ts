import type { AppError } from "@moiety/core";
import type { BatchId, LineResult, TokenCounts } from "@moiety/queue";
import { toOpenAiError } from "../openai/errors.js";
import type { InputLine } from "./input-line.js";
import { lineId } from "./line-request.js";

const NO_TOKENS: TokenCounts = { input: 0, cached: 0, output: 0, reasoning: 0 };
/** Of one result, as text. */
const MAX_RESULT_LENGTH = 33_554_432;

type Named = Pick<InputLine, "line" | "customId">;

const count = (value: unknown): number => (typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0);
const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;

/** What an answer says of its tokens, in whichever of OpenAI's two spellings. */
function tokensOf(body: object): TokenCounts {
  const usage = field(body, "usage");
  const inputDetails = field(usage, "prompt_tokens_details") ?? field(usage, "input_tokens_details");
  const outputDetails = field(usage, "completion_tokens_details") ?? field(usage, "output_tokens_details");
  return {
    input: count(field(usage, "prompt_tokens") ?? field(usage, "input_tokens")),
    cached: count(field(inputDetails, "cached_tokens")),
    output: count(field(usage, "completion_tokens") ?? field(usage, "output_tokens")),
    reasoning: count(field(outputDetails, "reasoning_tokens")),
  };
}

function textOf(
  batch: BatchId,
  { line, customId }: Named,
  rest: { readonly response: object | null; readonly error: object | null },
) {
  return JSON.stringify({ id: lineId(batch, line), custom_id: customId, ...rest });
}

/** A line of the output file. */
export function completedLine(
  batch: BatchId,
  line: Named,
  answer: { readonly requestId: string; readonly body: object },
): LineResult {
  const response = { status_code: 200, request_id: answer.requestId, body: answer.body };
  const text = textOf(batch, line, { response, error: null });
  if (text.length <= MAX_RESULT_LENGTH) return { line: line.line, outcome: "completed", text, tokens: tokensOf(answer.body) };
  const error = {
    code: "result_too_long",
    message: `the answer is longer than ${MAX_RESULT_LENGTH} characters; ask for less of it`,
  };
  return {
    line: line.line,
    outcome: "failed",
    text: textOf(batch, line, { response: null, error }),
    tokens: tokensOf(answer.body),
  };
}

/** A line of the error file, for a request that a live client would have got an error for. */
export function failedLine(
  batch: BatchId,
  line: Named,
  fault: { readonly requestId: string; readonly error: AppError },
): LineResult {
  const { status, body } = toOpenAiError(fault.error);
  const response = { status_code: status, request_id: fault.requestId, body };
  return { line: line.line, outcome: "failed", text: textOf(batch, line, { response, error: null }), tokens: NO_TOKENS };
}

const UNFINISHED = {
  expired: { code: "batch_expired", message: "the batch's completion window was over before this request was answered" },
  cancelled: { code: "batch_cancelled", message: "the batch was cancelled before this request was answered" },
} as const;

/** A line of the error file, for a request that has no result. */
export function unfinishedLine(batch: BatchId, line: Named, why: keyof typeof UNFINISHED): string {
  return textOf(batch, line, { response: null, error: UNFINISHED[why] });
}
