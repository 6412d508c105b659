import { z } from "zod";

/** What the serving side is started with. */
export const farEndSettingsSchema = z.object({
  redisUrl: z.string(),
  /** Requests served at once. */
  capacity: z.number().int().positive(),
  /** Tokens of each request, appended one by one. */
  tokens: z.number().int().min(0),
  /** Whether jobs of BullMQ are served that hold nothing. */
  bullAlone: z.boolean(),
});
export type FarEndSettings = z.output<typeof farEndSettingsSchema>;

/** Its answer to any message. */
export const farEndAnswerSchema = z.object({
  /** Since the last answer. */
  claimed: z.array(z.tuple([z.number(), z.number()])),
  /** Since the beginning. */
  done: z.number(),
  cpuSeconds: z.number(),
});
export type FarEndAnswer = z.output<typeof farEndAnswerSchema>;
