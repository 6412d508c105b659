import { z } from "zod";
import { CONFIG_LIMITS } from "./config-limits.js";

function count(max: number, min = 1) {
  const message = `expected an integer from ${min} to ${max}`;
  return z.int(message).min(min, message).max(max, message);
}

function positive(max: number) {
  const message = `expected a number above 0, at most ${max}`;
  return z.number(message).positive(message).max(max, message);
}

const tokenId = count(CONFIG_LIMITS.vocabSize - 1, 0);
const stopTokens = z.union([tokenId, z.array(tokenId).max(CONFIG_LIMITS.stopTokens)], {
  error: `expected a token id or a list of at most ${CONFIG_LIMITS.stopTokens}`,
});

const yarnSchema = z.looseObject(
  {
    rope_type: z.string("expected a string").nullish(),
    type: z.string("expected a string").nullish(),
    rope_theta: positive(CONFIG_LIMITS.ropeTheta).nullish(),
    factor: positive(CONFIG_LIMITS.ropeFactor).nullish(),
    beta_fast: positive(1e6).nullish(),
    beta_slow: positive(1e6).nullish(),
    original_max_position_embeddings: count(CONFIG_LIMITS.contextTokens).nullish(),
    truncate: z.boolean("expected true or false").nullish(),
    attention_factor: positive(1e6).nullish(),
    mscale: positive(1e6).nullish(),
    mscale_all_dim: positive(1e6).nullish(),
  },
  "expected an object",
);

/** config.json as any of its writers may have written it. Fields that no rule below reads are let through. */
export const rawConfigSchema = z.looseObject(
  {
    architectures: z.array(z.string(), "expected a list of names").nullish(),
    model_type: z.string("expected a string").nullish(),
    num_hidden_layers: count(CONFIG_LIMITS.layers),
    hidden_size: count(CONFIG_LIMITS.hiddenSize),
    intermediate_size: count(CONFIG_LIMITS.intermediateSize),
    num_local_experts: count(CONFIG_LIMITS.experts).nullish(),
    num_experts: count(CONFIG_LIMITS.experts).nullish(),
    num_experts_per_tok: count(CONFIG_LIMITS.expertsPerToken).nullish(),
    experts_per_token: count(CONFIG_LIMITS.expertsPerToken).nullish(),
    head_dim: count(CONFIG_LIMITS.headDim),
    num_attention_heads: count(CONFIG_LIMITS.heads),
    num_key_value_heads: count(CONFIG_LIMITS.heads),
    vocab_size: count(CONFIG_LIMITS.vocabSize).nullish(),
    sliding_window: count(CONFIG_LIMITS.contextTokens),
    layer_types: z.array(z.string(), "expected a list of names").max(CONFIG_LIMITS.layers).nullish(),
    max_position_embeddings: count(CONFIG_LIMITS.contextTokens).nullish(),
    initial_context_length: count(CONFIG_LIMITS.contextTokens).nullish(),
    rms_norm_eps: positive(1).nullish(),
    swiglu_limit: positive(1e6).nullish(),
    rope_theta: positive(CONFIG_LIMITS.ropeTheta).nullish(),
    rope_scaling: yarnSchema.nullish(),
    rope_parameters: yarnSchema.nullish(),
    rope_scaling_factor: positive(CONFIG_LIMITS.ropeFactor).nullish(),
    rope_ntk_alpha: positive(1e6).nullish(),
    rope_ntk_beta: positive(1e6).nullish(),
    attention_bias: z.boolean("expected true or false").nullish(),
    hidden_act: z.string("expected a string").nullish(),
    tie_word_embeddings: z.boolean("expected true or false").nullish(),
    eos_token_id: stopTokens.nullish(),
    pad_token_id: tokenId.nullish(),
    quantization_config: z.looseObject({ quant_method: z.string("expected a string") }, "expected an object").nullish(),
  },
  "expected an object",
);

export type RawConfig = z.infer<typeof rawConfigSchema>;
export type RawYarn = z.infer<typeof yarnSchema>;

/** generation_config.json: only what ends a generation. */
export const rawGenerationSchema = z.looseObject(
  { eos_token_id: stopTokens.nullish(), pad_token_id: tokenId.nullish() },
  "expected an object",
);
