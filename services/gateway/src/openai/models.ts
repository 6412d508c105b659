import { AppError } from "@moiety/core";
import type { ServedModel } from "../model/served-model.js";
import type { GenerationFields } from "./request-fields.js";

/** One model as `/v1/models` shows it. */
export function describeForApi(model: ServedModel, contextTokens: number): object {
  return {
    id: model.name,
    object: "model",
    created: model.createdAtS,
    owned_by: "moiety",
    max_model_len: contextTokens,
    ...(model.revision === undefined ? {} : { revision: model.revision }),
    ...(model.fingerprint === undefined ? {} : { checksum: `sha256:${model.fingerprint}` }),
  };
}

/** Says what answered: the weights, and the one tier that there is to whoever asked for a tier. */
export interface Signature {
  readonly system_fingerprint?: string;
  readonly service_tier?: "default";
}

export function signatureOf(model: ServedModel, fields: Pick<GenerationFields, "service_tier">): Signature {
  return {
    ...(model.fingerprint === undefined ? {} : { system_fingerprint: `fp_${model.fingerprint.slice(0, 16)}` }),
    ...(fields.service_tier === undefined ? {} : { service_tier: "default" }),
  };
}

/** @throws AppError NOT_FOUND for another model than the one that is served; absent: the one that is. */
export function checkModel(model: ServedModel, asked: string | undefined): void {
  if (asked === undefined || asked === model.name) return;
  throw new AppError("NOT_FOUND", `there is no such model here; this server serves ${model.name}`, {
    details: { param: "model", openaiCode: "model_not_found" },
  });
}
