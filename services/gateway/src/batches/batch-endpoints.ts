import type { GatewayContext } from "../gateway-context.js";
import type { PreparedAnswer, RequestOrigin } from "../openai/answer.js";
import { prepareChatCompletion } from "../openai/chat-completions.js";
import { prepareCompletion } from "../openai/completions.js";

/** An endpoint whose requests may come in batches. */
export interface BatchEndpoint {
  /** Of the ids of its answers. */
  readonly idPrefix: string;
  /** The endpoint's own check of a body: a line is refused for what a live request is refused for. @throws AppError. */
  readonly prepare: (context: GatewayContext, body: unknown, origin: RequestOrigin) => Promise<PreparedAnswer>;
}

export const BATCH_ENDPOINTS: ReadonlyMap<string, BatchEndpoint> = new Map([
  ["/v1/chat/completions", { idPrefix: "chatcmpl", prepare: prepareChatCompletion }],
  ["/v1/completions", { idPrefix: "cmpl", prepare: prepareCompletion }],
]);
