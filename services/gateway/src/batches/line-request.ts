import { createHash } from "node:crypto";
import { type Clock, parseRequestId, type RequestId } from "@moiety/core";
import type { BatchId } from "@moiety/queue";
import type { Caller } from "../auth/authenticate.js";
import type { GatewayContext } from "../gateway-context.js";
import type { ChoicePlan } from "../generation/choice.js";
import { checkBodyShape } from "../openai/body-limits.js";
import { invalidField } from "../openai/errors.js";
import type { BatchEndpoint, PreparedLine } from "./batch-endpoints.js";
import type { InputLine } from "./input-line.js";

/** Added to the priority of every line: any live request goes first. */
export const BATCH_PRIORITY = 2_048;

/** The batch that a line belongs to. */
export interface LineBatch {
  readonly id: BatchId;
  readonly caller: Caller;
  /** Of the endpoint. */
  readonly path: string;
  readonly endpoint: BatchEndpoint;
  /** What the lines take for now, so that each becomes the same request whenever it runs. */
  readonly startedAtMs: number;
  readonly expiresAtMs: number;
}

const digest = (...parts: readonly (string | number)[]): Buffer => createHash("sha256").update(parts.join("/")).digest();

/** The same for every process that runs the line. */
export function lineId(batch: BatchId, line: number): string {
  return `batch_req_${digest(batch, line).toString("hex").slice(0, 24)}`;
}

/** Of the n-th request that a line makes; all but the first come after a failure. */
export function requestIdOf(batch: Pick<LineBatch, "id" | "endpoint">, line: number, attempt: number): RequestId {
  const { prefix, digits } = batch.endpoint.id;
  return parseRequestId(`${prefix}${digest(batch.id, line, attempt).toString("hex").slice(0, digits)}`);
}

/** For a line that brings none: drawn from the line itself, so that whoever runs it draws the same tokens. At most 2^48. */
const seedOf = (batch: BatchId, line: number): number => digest(batch, line, "seed").readUIntBE(0, 6);

const stopped = (clock: Clock, nowMs: number): Clock => ({
  nowMs: () => nowMs,
  monotonicMs: () => clock.monotonicMs(),
  sleep: (ms, signal) => clock.sleep(ms, signal),
});

/** How many completions a body asks for, as far as can be seen before it is checked. */
export function choicesOf({ n, prompt }: Readonly<Record<string, unknown>>): number {
  const prompts = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt.length : 1;
  return prompts * (typeof n === "number" ? n : 1);
}

/** What a line asks of the cluster: the same each time, but for the ids of later attempts. @throws AppError for a body at fault. */
export async function prepareLine(
  context: GatewayContext,
  batch: LineBatch,
  { line, body }: Pick<InputLine, "line" | "body">,
  attempt: number,
): Promise<PreparedLine> {
  checkBodyShape(body);
  if (body["stream"] === true) throw invalidField("stream", "expected false: a batch has nobody to stream to");
  const seeded = (body["seed"] ?? undefined) === undefined ? { ...body, seed: seedOf(batch.id, line) } : body;
  const origin = { caller: batch.caller, id: requestIdOf(batch, line, attempt) };
  const inBatch = { ...context, clock: stopped(context.clock, batch.startedAtMs) };
  const prepared = await batch.endpoint.prepare(inBatch, seeded, origin);
  const createdAtMs = context.clock.nowMs();
  return { ...prepared, plans: prepared.plans.map((plan) => postponed(plan, { createdAtMs, deadlineAtMs: batch.expiresAtMs })) };
}

function postponed(plan: ChoicePlan, times: { readonly createdAtMs: number; readonly deadlineAtMs: number }): ChoicePlan {
  const { record } = plan;
  return { ...plan, record: { ...record, ...times, priority: record.priority + BATCH_PRIORITY } };
}
