import { env } from "@moiety/runtime";
import { expect, it } from "vitest";
import { z } from "zod";
import { listConfig } from "./list-config.js";

it("says of every variable what it is for, and its choices or default", () => {
  const schema = z
    .object({
      MOIETY_MODEL: env.text().describe("folder of the checkpoint"),
      MOIETY_THREADS: env.integer({ min: 1, max: 8, fallback: 2 }).describe("compute threads"),
      MOIETY_ACTIVATION: z.enum(["f32", "bf16"]).default("bf16").describe("number format"),
      MOIETY_NAME: z.string().optional().describe("its name"),
    })
    .refine(() => true);
  expect(listConfig(schema).split("\n")).toEqual([
    "MOIETY_MODEL",
    "  folder of the checkpoint; required",
    "MOIETY_THREADS",
    "  compute threads; default: 2",
    "MOIETY_ACTIVATION",
    "  number format (f32, bf16); default: bf16",
    "MOIETY_NAME",
    "  its name",
  ]);
});
