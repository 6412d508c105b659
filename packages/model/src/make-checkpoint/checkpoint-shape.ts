import { AppError } from "@moiety/core";
import type { CheckpointLayout } from "../checkpoint/tensor-plan.js";
import { parseModelConfig } from "../config/parse-model-config.js";
import type { ModelConfig } from "../model-config.js";
import { harmonyTokenId } from "./bytes-tokenizer.js";

/** The sizes of a made checkpoint; everything else is as in the released ones. */
export interface CheckpointShape {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly headDim: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly vocabSize: number;
  readonly slidingWindow: number;
  readonly originalContext: number;
  readonly ropeFactor: number;
}

const RELEASED: Omit<CheckpointShape, "layers" | "experts"> = {
  hiddenSize: 2880,
  intermediateSize: 2880,
  expertsPerToken: 4,
  headDim: 64,
  queryHeads: 64,
  kvHeads: 8,
  vocabSize: 201_088,
  slidingWindow: 128,
  originalContext: 4096,
  ropeFactor: 32,
};

/** Shapes to start from: the two released models, and one of a few megabytes. */
export const CHECKPOINT_SHAPES = {
  tiny: {
    ...RELEASED,
    layers: 4,
    hiddenSize: 128,
    intermediateSize: 96,
    experts: 16,
    queryHeads: 8,
    kvHeads: 2,
    vocabSize: 1024,
  },
  "20b": { ...RELEASED, layers: 24, experts: 32 },
  "120b": { ...RELEASED, layers: 36, experts: 128 },
} as const satisfies Readonly<Record<string, CheckpointShape>>;

export type CheckpointShapeName = keyof typeof CHECKPOINT_SHAPES;

/** The name of the released model that has this shape. */
export function nameOfShape(config: ModelConfig): string | undefined {
  const names = ["20b", "120b"] as const;
  const name = names.find((candidate) => {
    const { originalContext, ropeFactor, ...sizes } = CHECKPOINT_SHAPES[candidate];
    const sameRope = config.rope.originalContext === originalContext && config.rope.factor === ropeFactor;
    return sameRope && Object.entries(sizes).every(([field, size]) => config[field as keyof typeof sizes] === size);
  });
  return name === undefined ? undefined : `gpt-oss-${name}`;
}

export interface ShapeFiles {
  readonly config: Readonly<Record<string, unknown>>;
  readonly generation: Readonly<Record<string, unknown>>;
  readonly parsed: ModelConfig;
}

export interface ShapeFilesOptions {
  readonly shape: CheckpointShape;
  readonly layout: CheckpointLayout;
  readonly quantised: boolean;
  /** Whether the vocabulary ends with harmony's special tokens. */
  readonly harmony: boolean;
}

/** config.json and generation_config.json for a shape. INVALID_ARGUMENT naming the field if no model can have this shape. */
export function shapeFiles({ shape, layout, quantised, harmony }: ShapeFilesOptions): ShapeFiles {
  for (const field of ["hiddenSize", "intermediateSize"] as const) {
    if (shape[field] % 32 === 0) continue;
    const message = `${field}: expected a multiple of 32, found ${shape[field]}`;
    throw new AppError("INVALID_ARGUMENT", message, { details: { field } });
  }
  const stops = harmony
    ? {
        eos_token_id: [harmonyTokenId("<|return|>", shape.vocabSize), harmonyTokenId("<|call|>", shape.vocabSize)],
        pad_token_id: harmonyTokenId("<|endoftext|>", shape.vocabSize),
      }
    : {};
  const config = layout === "original" ? originalConfig(shape) : huggingFaceConfig(shape, quantised, stops);
  const generation = { do_sample: true, ...stops };
  return { config, generation, parsed: parseModelConfig({ config, generation, file: "shape" }) };
}

function sharedConfig(shape: CheckpointShape) {
  return {
    num_hidden_layers: shape.layers,
    hidden_size: shape.hiddenSize,
    intermediate_size: shape.intermediateSize,
    experts_per_token: shape.expertsPerToken,
    head_dim: shape.headDim,
    num_attention_heads: shape.queryHeads,
    num_key_value_heads: shape.kvHeads,
    vocab_size: shape.vocabSize,
    sliding_window: shape.slidingWindow,
    initial_context_length: shape.originalContext,
    rope_theta: 150_000,
    swiglu_limit: 7,
  };
}

function originalConfig(shape: CheckpointShape): Record<string, unknown> {
  return {
    ...sharedConfig(shape),
    num_experts: shape.experts,
    rope_scaling_factor: shape.ropeFactor,
    rope_ntk_alpha: 1,
    rope_ntk_beta: 32,
  };
}

function huggingFaceConfig(shape: CheckpointShape, quantised: boolean, stops: { readonly eos_token_id?: readonly number[] }) {
  return {
    architectures: ["GptOssForCausalLM"],
    model_type: "gpt_oss",
    ...sharedConfig(shape),
    num_local_experts: shape.experts,
    num_experts_per_tok: shape.expertsPerToken,
    layer_types: Array.from({ length: shape.layers }, (_, layer) => (layer % 2 === 0 ? "sliding_attention" : "full_attention")),
    max_position_embeddings: shape.originalContext * shape.ropeFactor,
    rms_norm_eps: 1e-5,
    rope_scaling: {
      rope_type: "yarn",
      factor: shape.ropeFactor,
      beta_fast: 32,
      beta_slow: 1,
      original_max_position_embeddings: shape.originalContext,
      truncate: false,
    },
    attention_bias: true,
    hidden_act: "silu",
    tie_word_embeddings: false,
    ...stops,
    ...(stops.eos_token_id === undefined ? {} : { eos_token_id: stops.eos_token_id[0] }),
    ...(quantised ? { quantization_config: QUANTISATION } : {}),
  };
}

const QUANTISATION = {
  modules_to_not_convert: ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
  quant_method: "mxfp4",
};
