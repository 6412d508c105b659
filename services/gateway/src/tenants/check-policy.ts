import { AppError } from "@moiety/core";
import type { ContextLimit } from "../generation/plan.js";
import type { TenantPolicy } from "./tenant-record.js";

/** @throws AppError PERMISSION_DENIED for a model that the tenant may not use. */
export function checkAllowedModel({ models }: TenantPolicy, model: string): void {
  if (models === undefined || models.includes(model)) return;
  throw new AppError("PERMISSION_DENIED", `model: your tenant may not use ${model}`, {
    details: { param: "model", openaiCode: "model_not_allowed" },
  });
}

/** The priority of a request: what was asked for, or what is nearest to 0. @throws AppError PERMISSION_DENIED for a more urgent one than the tenant may have. */
export function priorityUnder({ mostUrgentPriority }: TenantPolicy, asked: number | undefined): number {
  if (mostUrgentPriority === undefined) return asked ?? 0;
  if (asked === undefined) return Math.max(0, mostUrgentPriority);
  if (asked >= mostUrgentPriority) return asked;
  throw new AppError("PERMISSION_DENIED", `priority: expected at least ${mostUrgentPriority}, your tenant's most urgent`, {
    details: { param: "priority", openaiCode: "priority_not_allowed" },
  });
}

/** The tighter of what the workers hold and what the tenant may use. */
export function contextUnder({ contextTokens }: TenantPolicy, servedTokens: number): ContextLimit {
  if (contextTokens === undefined || contextTokens >= servedTokens) return { tokens: servedTokens, name: "the context" };
  return { tokens: contextTokens, name: "your tenant's context" };
}
