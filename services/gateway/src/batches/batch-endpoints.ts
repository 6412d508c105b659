import type { GatewayContext } from "../gateway-context.js";
import type { ChoicePlan } from "../generation/choice.js";
import { Generation, type GenerationOptions } from "../generation/generation.js";
import { answerWhole, type PreparedAnswer, type RequestOrigin } from "../openai/answer.js";
import { prepareChatCompletion } from "../openai/chat-completions.js";
import { prepareCompletion } from "../openai/completions.js";
import { prepareBatchedResponse } from "../responses/batched-response.js";

type Body = Readonly<Record<string, unknown>>;

/** A request that was checked. */
export interface PreparedLine extends Pick<PreparedAnswer, "caller" | "policy" | "promptOf"> {
  readonly plans: readonly ChoicePlan[];
  /** Runs it, by its plans or by what became of them, and gives the answer. @throws AppError when generation failed. */
  readonly run: (options: GenerationOptions) => Promise<object>;
}

/** An endpoint whose requests may come in batches. */
export interface BatchEndpoint {
  /** Of the ids of its answers, and how many hexadecimal digits follow. */
  readonly id: { readonly prefix: string; readonly digits: number };
  /** The endpoint's own check of a body: a line is refused for what a live request is refused for. @throws AppError. */
  readonly prepare: (context: GatewayContext, body: Body, origin: Required<RequestOrigin>) => Promise<PreparedLine>;
}

type Prepare = (context: GatewayContext, body: Body, origin: RequestOrigin) => Promise<PreparedAnswer>;

function answering(prepare: Prepare): BatchEndpoint["prepare"] {
  return async (context, body, origin) => {
    const prepared = await prepare(context, body, origin);
    const { plans, caller, policy, promptOf } = prepared;
    return { plans, caller, policy, promptOf, run: async (options) => answerWhole(prepared, await Generation.start(options)) };
  };
}

export const BATCH_ENDPOINTS: ReadonlyMap<string, BatchEndpoint> = new Map([
  ["/v1/chat/completions", { id: { prefix: "chatcmpl-", digits: 24 }, prepare: answering(prepareChatCompletion) }],
  ["/v1/completions", { id: { prefix: "cmpl-", digits: 24 }, prepare: answering(prepareCompletion) }],
  ["/v1/responses", { id: { prefix: "resp_", digits: 32 }, prepare: prepareBatchedResponse }],
]);
