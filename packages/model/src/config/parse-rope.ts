import type { RopeConfig } from "../model-config.js";
import { configFault } from "./config-fault.js";
import type { RawConfig, RawYarn } from "./config-schema.js";
import { requiredValue, valueOr } from "./one-value.js";

/**
 * YaRN settings from whichever spellings the file has: `rope_scaling` with a top-level `rope_theta`, `rope_parameters`, or the
 * original format's `rope_scaling_factor`, `rope_ntk_alpha`, `rope_ntk_beta`, `initial_context_length`. Spellings that are both
 * there must agree. Where a file is silent: beta 32 and 1, as every reader of YaRN has it, and a correction range that is not
 * rounded, as the published reference model has it.
 */
export function parseRope(raw: RawConfig, file: string): RopeConfig {
  const { rope_scaling: scaling, rope_parameters: parameters } = raw;
  checkYarn(scaling, "rope_scaling", file);
  checkYarn(parameters, "rope_parameters", file);
  const rope: RopeConfig = {
    theta: requiredValue(
      file,
      [
        ["rope_theta", raw.rope_theta],
        ["rope_parameters.rope_theta", parameters?.rope_theta],
        ["rope_scaling.rope_theta", scaling?.rope_theta],
      ],
      "the base of the rotary frequencies",
    ),
    factor: requiredValue(
      file,
      [
        ["rope_scaling.factor", scaling?.factor],
        ["rope_parameters.factor", parameters?.factor],
        ["rope_scaling_factor", raw.rope_scaling_factor],
      ],
      "the factor of YaRN",
    ),
    betaFast: valueOr(
      file,
      [
        ["rope_scaling.beta_fast", scaling?.beta_fast],
        ["rope_parameters.beta_fast", parameters?.beta_fast],
        ["rope_ntk_beta", raw.rope_ntk_beta],
      ],
      32,
    ),
    betaSlow: valueOr(
      file,
      [
        ["rope_scaling.beta_slow", scaling?.beta_slow],
        ["rope_parameters.beta_slow", parameters?.beta_slow],
        ["rope_ntk_alpha", raw.rope_ntk_alpha],
      ],
      1,
    ),
    originalContext: requiredValue(
      file,
      [
        ["rope_scaling.original_max_position_embeddings", scaling?.original_max_position_embeddings],
        ["rope_parameters.original_max_position_embeddings", parameters?.original_max_position_embeddings],
        ["initial_context_length", raw.initial_context_length],
      ],
      "the context length before YaRN",
    ),
    truncate: valueOr(
      file,
      [
        ["rope_scaling.truncate", scaling?.truncate],
        ["rope_parameters.truncate", parameters?.truncate],
      ],
      false,
    ),
  };
  checkRanges(rope, [scaling, parameters], file);
  return rope;
}

function checkYarn(yarn: RawYarn | null | undefined, field: string, file: string): void {
  if (yarn === null || yarn === undefined) return;
  const type = requiredValue(
    file,
    [
      [`${field}.rope_type`, yarn.rope_type],
      [`${field}.type`, yarn.type],
    ],
    '"yarn"',
  );
  if (type !== "yarn") throw configFault(file, `${field}.rope_type`, `expected "yarn", found "${type}"`);
  for (const name of ["mscale", "mscale_all_dim"] as const) {
    const value = yarn[name];
    if (value !== undefined && value !== null)
      throw configFault(file, `${field}.${name}`, "expected nothing: gpt-oss has no mscale");
  }
}

function checkRanges(rope: RopeConfig, yarns: readonly (RawYarn | null | undefined)[], file: string): void {
  if (rope.theta <= 1) throw configFault(file, "rope_theta", `expected a number above 1, found ${rope.theta}`);
  if (rope.factor < 1) throw configFault(file, "rope factor", `expected at least 1, found ${rope.factor}`);
  if (rope.betaFast < rope.betaSlow) {
    throw configFault(file, "beta_fast", `expected at least beta_slow, ${rope.betaSlow}, found ${rope.betaFast}`);
  }
  const concentration = 0.1 * Math.log(rope.factor) + 1;
  for (const given of yarns.map((yarn) => yarn?.attention_factor)) {
    if (given !== undefined && given !== null && Math.abs(given - concentration) > 1e-6) {
      throw configFault(file, "attention_factor", `expected nothing or 0.1 ln(factor) + 1 = ${concentration}, found ${given}`);
    }
  }
}
