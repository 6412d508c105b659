import { z } from "zod";

/** What the engine's process is started with. */
export const engineSettingsSchema = z.object({
  redisUrl: z.string(),
  sequences: z.number().int().positive(),
  contextTokens: z.number().int().positive(),
  layers: z.number().int().positive(),
  computeMs: z.number().min(0),
  logs: z.boolean(),
});
export type EngineSettings = z.output<typeof engineSettingsSchema>;

/** Its answer to any message: JavaScript of each step, in milliseconds. */
export const engineStepsSchema = z.array(
  z.object({
    wholeMs: z.number(),
    scheduleMs: z.number(),
    prepareMs: z.number(),
    layersMs: z.number(),
    restMs: z.number(),
  }),
);
export type EngineSteps = z.output<typeof engineStepsSchema>;
