import { AppError } from "@moiety/core";
import type { ServedModel } from "../model/served-model.js";

/** One model as `/v1/models` shows it. */
export function describeForApi(model: ServedModel, contextTokens: number): object {
  return {
    id: model.name,
    object: "model",
    created: model.createdAtS,
    owned_by: "moiety",
    max_model_len: contextTokens,
  };
}

/** @throws AppError NOT_FOUND for another model than the one that is served; absent: the one that is. */
export function checkModel(model: ServedModel, asked: string | undefined): void {
  if (asked === undefined || asked === model.name) return;
  throw new AppError("NOT_FOUND", `there is no such model here; this server serves ${model.name}`, {
    details: { param: "model", openaiCode: "model_not_found" },
  });
}
