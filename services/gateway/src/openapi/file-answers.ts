import { z } from "zod";
import { count } from "./answers.js";
import { listAnswer } from "./list-answer.js";
import { tokenUsage } from "./response-answers.js";

const time = z.number().int().describe("seconds since 1970");
const timeReached = time.nullable().describe("seconds since 1970; null: it has not come to this");

export const fileAnswer = z.object({
  id: z.string(),
  object: z.literal("file"),
  bytes: count,
  created_at: time,
  expires_at: time.optional(),
  filename: z.string(),
  purpose: z.string(),
  status: z.literal("processed"),
  status_details: z.null(),
});

export const filesAnswer = listAnswer(fileAnswer);
export const fileDeletedAnswer = z.object({ id: z.string(), object: z.literal("file"), deleted: z.literal(true) });

const batchFault = z.object({
  code: z.string(),
  message: z.string(),
  line: count.nullable(),
  param: z.string().nullable(),
});

export const batchAnswer = z.object({
  id: z.string(),
  object: z.literal("batch"),
  endpoint: z.string(),
  model: z.string(),
  errors: z.object({ object: z.literal("list"), data: z.array(batchFault) }).nullable(),
  input_file_id: z.string(),
  completion_window: z.string(),
  status: z.enum(["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: time,
  expires_at: time,
  in_progress_at: timeReached,
  finalizing_at: timeReached,
  completed_at: timeReached,
  failed_at: timeReached,
  expired_at: timeReached,
  cancelling_at: timeReached,
  cancelled_at: timeReached,
  request_counts: z.object({ total: count, completed: count, failed: count }),
  usage: tokenUsage,
  metadata: z.record(z.string(), z.string()).nullable(),
});

export const batchesAnswer = listAnswer(batchAnswer);
