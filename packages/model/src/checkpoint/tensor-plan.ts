import type { ModelConfig } from "../model-config.js";
import type { TensorDtype } from "../tensor-ref.js";

/** How a checkpoint names its tensors: as Hugging Face's tools do, or as the first release in its `original/` folder. */
export type CheckpointLayout = "huggingface" | "original";

/** How the experts are stored: packed, or unquantised and transposed. */
export type ExpertFormat = "mxfp4" | "bf16";

/** What a tensor is for; memory is accounted by it. */
export type TensorRole = "embedding" | "unembedding" | "attention" | "router" | "norm" | "expert";

/** One tensor that a checkpoint must have. */
export interface PlannedTensor {
  readonly name: string;
  readonly role: TensorRole;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
}

export interface ProjectionPlan {
  readonly weight: PlannedTensor;
  readonly bias: PlannedTensor;
}

export type ExpertWeightPlan =
  | { readonly kind: "mxfp4"; readonly blocks: PlannedTensor; readonly scales: PlannedTensor }
  | { readonly kind: "bf16-transposed"; readonly weight: PlannedTensor };

export interface ExpertProjectionPlan {
  readonly weight: ExpertWeightPlan;
  readonly bias: PlannedTensor;
}

/** In the original layout the rows of q, k and v are one tensor, in that order. */
export type QkvPlan =
  | { readonly kind: "separate"; readonly query: ProjectionPlan; readonly key: ProjectionPlan; readonly value: ProjectionPlan }
  | { readonly kind: "fused"; readonly qkv: ProjectionPlan };

export interface LayerPlan {
  readonly attentionNorm: PlannedTensor;
  readonly qkv: QkvPlan;
  readonly output: ProjectionPlan;
  readonly sinks: PlannedTensor;
  readonly mlpNorm: PlannedTensor;
  readonly router: ProjectionPlan;
  readonly gateUp: ExpertProjectionPlan;
  readonly down: ExpertProjectionPlan;
}

/** Every tensor of a checkpoint of a given shape, layout and expert format. */
export interface CheckpointPlan {
  readonly embedding: PlannedTensor;
  readonly finalNorm: PlannedTensor;
  /** The embedding itself where the two are tied. */
  readonly unembedding: PlannedTensor;
  readonly layers: readonly LayerPlan[];
}

export interface PlanOptions {
  readonly config: ModelConfig;
  readonly layout: CheckpointLayout;
  readonly experts: ExpertFormat;
}

/** Names, dtypes and shapes of all tensors of a checkpoint. */
export function planCheckpoint(options: PlanOptions): CheckpointPlan {
  const { config, layout } = options;
  const { vocabSize, hiddenSize } = config;
  const names = NAMES[layout];
  const embedding = bf16("embedding", names.embedding, [vocabSize, hiddenSize]);
  return {
    embedding,
    finalNorm: bf16("norm", names.finalNorm, [hiddenSize]),
    unembedding: config.tiedEmbeddings ? embedding : bf16("unembedding", names.unembedding, [vocabSize, hiddenSize]),
    layers: Array.from({ length: config.layers }, (_, layer) => planLayer(options, layer)),
  };
}

const NAMES = {
  huggingface: {
    embedding: "model.embed_tokens.weight",
    finalNorm: "model.norm.weight",
    unembedding: "lm_head.weight",
    layer: (layer: number) => `model.layers.${layer}.`,
    attentionNorm: "input_layernorm.weight",
    output: "self_attn.o_proj",
    sinks: "self_attn.sinks",
    mlpNorm: "post_attention_layernorm.weight",
    router: "mlp.router",
  },
  original: {
    embedding: "embedding.weight",
    finalNorm: "norm.scale",
    unembedding: "unembedding.weight",
    layer: (layer: number) => `block.${layer}.`,
    attentionNorm: "attn.norm.scale",
    output: "attn.out",
    sinks: "attn.sinks",
    mlpNorm: "mlp.norm.scale",
    router: "mlp.gate",
  },
} as const;

/** The tensor by which a layout is recognised. */
export function embeddingName(layout: CheckpointLayout): string {
  return NAMES[layout].embedding;
}

/** The tensor of layer 0 by which packed or unquantised experts are recognised. */
export function firstExpertName(layout: CheckpointLayout, experts: ExpertFormat): string {
  const projection = `${NAMES[layout].layer(0)}${EXPERT_NAMES[layout].gateUp}`;
  return experts === "mxfp4" ? `${projection}${EXPERT_NAMES[layout].blocks}` : projection;
}

function planLayer(options: PlanOptions, layer: number): LayerPlan {
  const { config, layout } = options;
  const { hiddenSize, headDim, queryHeads } = config;
  const names = NAMES[layout];
  const prefix = names.layer(layer);
  return {
    attentionNorm: bf16("norm", prefix + names.attentionNorm, [hiddenSize]),
    qkv: planQkv(config, layout, prefix),
    output: projection("attention", prefix + names.output, [hiddenSize, queryHeads * headDim]),
    sinks: bf16("attention", prefix + names.sinks, [queryHeads]),
    mlpNorm: bf16("norm", prefix + names.mlpNorm, [hiddenSize]),
    router: projection("router", prefix + names.router, [config.experts, hiddenSize]),
    gateUp: planExperts(options, prefix, "gateUp"),
    down: planExperts(options, prefix, "down"),
  };
}

function planQkv(config: ModelConfig, layout: CheckpointLayout, prefix: string): QkvPlan {
  const { hiddenSize, headDim, queryHeads, kvHeads } = config;
  if (layout === "original") {
    return {
      kind: "fused",
      qkv: projection("attention", `${prefix}attn.qkv`, [(queryHeads + 2 * kvHeads) * headDim, hiddenSize]),
    };
  }
  const heads = (name: string, count: number) =>
    projection("attention", `${prefix}self_attn.${name}_proj`, [count * headDim, hiddenSize]);
  return { kind: "separate", query: heads("q", queryHeads), key: heads("k", kvHeads), value: heads("v", kvHeads) };
}

const EXPERT_NAMES = {
  huggingface: {
    gateUp: "mlp.experts.gate_up_proj",
    down: "mlp.experts.down_proj",
    blocks: "_blocks",
    scales: "_scales",
    bias: (name: string) => `${name}_bias`,
  },
  original: {
    gateUp: "mlp.mlp1_weight",
    down: "mlp.mlp2_weight",
    blocks: ".blocks",
    scales: ".scales",
    bias: (name: string) => name.replace(/weight$/, "bias"),
  },
} as const;

function planExperts({ config, layout, experts }: PlanOptions, prefix: string, which: "gateUp" | "down"): ExpertProjectionPlan {
  const { hiddenSize, intermediateSize } = config;
  const [out, inner] = which === "gateUp" ? [2 * intermediateSize, hiddenSize] : [hiddenSize, intermediateSize];
  const names = EXPERT_NAMES[layout];
  const name = prefix + names[which];
  const bias = bf16("expert", names.bias(name), [config.experts, out]);
  if (experts === "bf16") {
    return { weight: { kind: "bf16-transposed", weight: bf16("expert", name, [config.experts, inner, out]) }, bias };
  }
  const groups = inner / 32;
  const blocks = packed(name + names.blocks, [config.experts, out, groups, 16]);
  return { weight: { kind: "mxfp4", blocks, scales: packed(name + names.scales, [config.experts, out, groups]) }, bias };
}

function bf16(role: TensorRole, name: string, shape: readonly number[]): PlannedTensor {
  return { name, role, dtype: "bf16", shape };
}

function packed(name: string, shape: readonly number[]): PlannedTensor {
  return { name, role: "expert", dtype: "u8", shape };
}

function projection(role: TensorRole, name: string, shape: readonly [out: number, inner: number]): ProjectionPlan {
  return { weight: bf16(role, `${name}.weight`, shape), bias: bf16(role, `${name}.bias`, [shape[0]]) };
}

/** All tensors, each once, in the order of the forward pass. */
export function plannedTensors(plan: CheckpointPlan): readonly PlannedTensor[] {
  const ends = plan.unembedding === plan.embedding ? [plan.finalNorm] : [plan.finalNorm, plan.unembedding];
  return [plan.embedding, ...plan.layers.flatMap(layerTensors), ...ends];
}

function layerTensors(layer: LayerPlan): PlannedTensor[] {
  const { qkv } = layer;
  const projections = qkv.kind === "fused" ? [qkv.qkv] : [qkv.query, qkv.key, qkv.value];
  return [
    layer.attentionNorm,
    ...projections.flatMap(({ weight, bias }) => [weight, bias]),
    layer.sinks,
    layer.output.weight,
    layer.output.bias,
    layer.mlpNorm,
    layer.router.weight,
    layer.router.bias,
    ...expertTensors(layer.gateUp),
    ...expertTensors(layer.down),
  ];
}

function expertTensors({ weight, bias }: ExpertProjectionPlan): PlannedTensor[] {
  return weight.kind === "mxfp4" ? [weight.blocks, weight.scales, bias] : [weight.weight, bias];
}

/** Bytes of a planned tensor on disk. */
export function plannedBytes({ dtype, shape }: PlannedTensor): number {
  const elementBytes = { bf16: 2, u8: 1, f32: 4 }[dtype];
  return shape.reduce((product, size) => product * size, elementBytes);
}
