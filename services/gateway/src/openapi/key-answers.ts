import { z } from "zod";

const time = z.number().int().describe("seconds since 1970");

export const keyAnswer = z.object({
  id: z.string(),
  object: z.literal("api_key"),
  tenant: z.string(),
  name: z.string(),
  created_at: time,
  rotated_at: time.nullable(),
  expires_at: time.nullable(),
});

export const shownKeyAnswer = keyAnswer.extend({ key: z.string().describe("what a client presents; shown this once") });
export const keysAnswer = z.object({ object: z.literal("list"), data: z.array(keyAnswer) });
export const keyDeletedAnswer = z.object({ id: z.string(), object: z.literal("api_key"), deleted: z.literal(true) });
