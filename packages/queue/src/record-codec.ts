import { AppError, parseTenantId, type RequestId } from "@moiety/core";
import { z } from "zod";
import { packTokens, unpackTokens } from "./token-codec.js";
import { MAX_PRIORITY } from "./turns.js";
import type { Finish, GenerationParams, RequestRecord } from "./types.js";

const tokenId = z.number().int().min(0).max(0x7fffffff);
const count = z.number().int().min(0);
const finite = z.number();

const paramsSchema = z.strictObject({
  temperature: finite.min(0),
  topK: z.number().int(),
  topP: finite,
  minP: finite,
  repetitionPenalty: finite,
  presencePenalty: finite,
  frequencyPenalty: finite,
  seed: z.string().regex(/^\d{1,20}$/),
  maxTokens: count,
  minTokens: count,
  stopTokenIds: z.array(tokenId),
  logitBias: z.array(z.tuple([tokenId, finite])),
  topLogprobs: z.number().int().min(0).max(255).exactOptional(),
  promptLogprobs: z.boolean().exactOptional(),
  grammar: z.string().min(1).max(1_048_576).exactOptional(),
  grammarEngine: z.string().min(1).max(128).exactOptional(),
}) satisfies z.ZodType<GenerationParams>;

const finishSchema = z.object({
  reason: z.enum(["stop", "length", "cancelled", "error"]),
  error: z.object({ code: z.string(), message: z.string() }).exactOptional(),
  promptTokens: count,
  cachedTokens: count,
  outputTokens: count,
  queueMs: finite,
  prefillMs: finite,
  decodeMs: finite,
}) satisfies z.ZodType<Finish>;

/** The fields of a record's hash that hold the request itself, in the order in which scripts return them. */
export const RECORD_FIELDS = [
  "tenant",
  "salt",
  "priority",
  "createdAt",
  "deadlineAt",
  "params",
  "prompt",
  "traceparent",
] as const;

/** Field names and values, as HSET takes them. */
export function encodeRecord(record: RequestRecord): (string | Buffer)[] {
  return [
    ...["tenant", record.tenant, "salt", record.cacheSalt, "priority", String(record.priority)],
    ...["createdAt", String(record.createdAtMs), "deadlineAt", String(record.deadlineAtMs)],
    ...["params", JSON.stringify(record.params), "promptCount", String(record.promptTokens.length)],
    "prompt",
    packTokens(record.promptTokens),
    ...(record.traceparent === undefined ? [] : ["traceparent", record.traceparent]),
  ];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError("DATA_LOSS", "a stored request cannot be read: not JSON", { retryable: false, cause: error });
  }
}

function checked<T>(schema: z.ZodType<T>, text: string): T {
  const result = schema.safeParse(parseJson(text));
  if (result.success) return result.data;
  const fields = result.error.issues.map((issue) => issue.path.join("."));
  throw new AppError("DATA_LOSS", "a stored request cannot be read", { retryable: false, details: { fields } });
}

function wholeNumber(value: Buffer | null | undefined, field: string): number {
  const number = value ? Number(value.toString()) : Number.NaN;
  if (Number.isSafeInteger(number)) return number;
  throw new AppError("DATA_LOSS", `a stored request cannot be read: ${field}`, { retryable: false });
}

/** Reads what {@link encodeRecord} wrote; `values` are in the order of {@link RECORD_FIELDS}. @throws AppError DATA_LOSS. */
export function decodeRecord(id: RequestId, values: readonly (Buffer | null)[]): RequestRecord {
  const [tenant, salt, priority, createdAt, deadlineAt, params, prompt, traceparent] = values;
  if (!tenant || !salt || !params || !prompt)
    throw new AppError("DATA_LOSS", "a stored request is incomplete", { retryable: false });
  return {
    id,
    tenant: parseTenantId(tenant.toString()),
    cacheSalt: salt.toString(),
    priority: wholeNumber(priority, "priority"),
    createdAtMs: wholeNumber(createdAt, "createdAt"),
    deadlineAtMs: wholeNumber(deadlineAt, "deadlineAt"),
    promptTokens: unpackTokens(prompt),
    params: checked(paramsSchema, params.toString()),
    ...(traceparent ? { traceparent: traceparent.toString() } : {}),
  };
}

/** Checks what a gateway is about to store. @throws AppError INVALID_ARGUMENT that names the fields. */
export function checkRecord(record: RequestRecord): void {
  const result = paramsSchema.safeParse(record.params);
  if (!result.success) {
    const fields = result.error.issues.map((issue) => `params.${issue.path.join(".")}`);
    throw new AppError("INVALID_ARGUMENT", `a request's parameters are wrong: ${fields.join(", ")}`, { details: { fields } });
  }
  if (!Number.isInteger(record.priority) || record.priority < 0 || record.priority > MAX_PRIORITY) {
    throw new AppError("INVALID_ARGUMENT", `priority must be an integer from 0 to ${MAX_PRIORITY}`, {
      details: { fields: ["priority"] },
    });
  }
  if (record.promptTokens.length === 0) {
    throw new AppError("INVALID_ARGUMENT", "a prompt has at least one token", { details: { fields: ["promptTokens"] } });
  }
}

export const encodeFinish = (finish: Finish): string => JSON.stringify(finish);
export const decodeFinish = (text: string): Finish => checked(finishSchema, text);
