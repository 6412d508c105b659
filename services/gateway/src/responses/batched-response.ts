import { invariant } from "@moiety/core";
import type { PreparedLine } from "../batches/batch-endpoints.js";
import type { GatewayContext } from "../gateway-context.js";
import type { GenerationOptions } from "../generation/generation.js";
import type { RequestOrigin } from "../openai/answer.js";
import { invalidField } from "../openai/errors.js";
import { type PreparedResponse, prepareResponse } from "./create-response.js";
import { type Settle, settleIn, startRun } from "./response-run.js";

/** A response that a line of a batch asks for. @throws AppError that names the field at fault. */
export async function prepareBatchedResponse(
  context: GatewayContext,
  body: Readonly<Record<string, unknown>>,
  origin: Required<RequestOrigin>,
): Promise<PreparedLine> {
  if (body["background"] === true)
    throw invalidField("background", "expected false: a batch is worked on in the background itself");
  const prepared = await prepareResponse(context, body, origin);
  const { caller, policy, plan } = prepared;
  return { caller, policy, plans: [plan], promptOf: () => 0, run: (options) => run(context, prepared, options) };
}

/** It is stored once it has its end: a line that fails may be run again, and has left nothing then. */
async function run(context: GatewayContext, prepared: PreparedResponse, options: GenerationOptions): Promise<object> {
  const { plans, signal, producer, leave, timed, admit } = options;
  const [plan] = plans;
  invariant(plan !== undefined, "a response has one choice");
  const { createdAtMs, deadlineAtMs } = plan.record;
  const response = { ...prepared.response, plan: { ...prepared.response.plan, createdAtMs, deadlineAtMs } };
  const { store } = context.responses;
  const settle: Settle = async (stored, end, tokens) => {
    if (end.status === "failed" || end.status === "cancelled") return end;
    if (stored.head["store"] !== false) await store.create(stored);
    return settleIn(store)(stored, end, tokens);
  };
  const reading = await startRun(context, {
    response,
    plan,
    settle,
    signal,
    producer,
    ...(leave ? { leave } : {}),
    ...(admit ? { admit } : {}),
    ...(timed === undefined ? {} : { timed }),
  });
  const whole = await reading.finish();
  if (reading.failure) throw reading.failure;
  return whole;
}
