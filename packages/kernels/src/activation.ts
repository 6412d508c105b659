import type { ExpertFormat } from "@moiety/model";
import type { Activation } from "./types.js";

/** What a process may be told to use: a number format, or `auto` for the fastest that the checkpoint can have. */
export const ACTIVATION_CHOICES = ["auto", "f32", "bf16", "int8"] as const;
export type ActivationChoice = (typeof ACTIVATION_CHOICES)[number];

/**
 * The number format to compute with. `auto` is int8 for experts in MXFP4 and bf16 for others: processes that serve the same checkpoint
 * choose alike.
 */
export function activationFor(choice: ActivationChoice, experts: ExpertFormat): Activation {
  if (choice !== "auto") return choice;
  return experts === "mxfp4" ? "int8" : "bf16";
}
