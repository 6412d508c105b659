import { z } from "zod";

/** What a token source is started with. */
export const sourceSettingsSchema = z.object({
  redisUrl: z.string(),
  capacity: z.number().int().positive(),
  /** Of the checkpoint that the gateway serves: it counts no worker of another. */
  modelFingerprint: z.string(),
  /** The engine that it says to have: a gateway admits grammars only where there is one. Nothing is held to them. */
  grammarEngine: z.string().optional(),
  /** Tokens of every answer, the last one over and over. Default: a letter. */
  answer: z.array(z.number().int()).default([]),
});
export type SourceSettings = z.input<typeof sourceSettingsSchema>;

/**
 * begin: how to serve the requests that come next. Answered with a report of those that came before.
 * cpu: answered with what the source has used of the processors.
 */
export const sourceOrderSchema = z.object({
  kind: z.enum(["begin", "cpu"]),
  /** Between two tokens of a stream; 0: as fast as Redis takes them. */
  intervalMs: z.number().min(0).default(0),
  /** How many streams there will be. */
  streams: z.number().int().positive().default(1),
});
export type SourceOrder = z.output<typeof sourceOrderSchema>;

const streamSchema = z.object({
  stream: z.number().int(),
  claimedMs: z.number(),
  /** When each token was handed to the queue. */
  appendedMs: z.array(z.number()),
});
export type SourceStream = z.output<typeof streamSchema>;

export const sourceReportSchema = z.object({ streams: z.array(streamSchema), faults: z.array(z.string()) });
export type SourceReport = z.output<typeof sourceReportSchema>;

export const sourceCpuSchema = z.object({ cpuSeconds: z.number() });
export type SourceCpu = z.output<typeof sourceCpuSchema>;
