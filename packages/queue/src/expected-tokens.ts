import type { RequestRecord } from "./types.js";

/** Of an answer whose length nobody estimated. */
const ANSWER_TOKENS = 1_024;

/** How many tokens a request will take, as far as is known before: its prompt's and its answer's. */
export function expectedTokens({ expectedTokens: given, promptTokens, params }: RequestRecord): number {
  return given ?? promptTokens.length + Math.min(params.maxTokens, ANSWER_TOKENS);
}
