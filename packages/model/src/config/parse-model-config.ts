import type { AttentionKind, ModelConfig } from "../model-config.js";
import { configFault, parseFile, preview } from "./config-fault.js";
import { CONFIG_LIMITS } from "./config-limits.js";
import { type RawConfig, rawConfigSchema, rawGenerationSchema } from "./config-schema.js";
import { requiredValue, valueOr } from "./one-value.js";
import { parseRope } from "./parse-rope.js";

export interface ConfigSources {
  /** Parsed config.json. */
  readonly config: unknown;
  /** Named in errors. Default `config.json`. */
  readonly file?: string;
  /** Parsed generation_config.json, where there is one. */
  readonly generation?: unknown;
  /** Where config.json gives no vocab_size: the rows of the embedding. */
  readonly embeddingRows?: number;
}

/** What the published reference model fixes and the original format's config.json therefore leaves out. */
const REFERENCE = { rmsNormEps: 1e-5, swigluLimit: 7 } as const;

/**
 * A checkpoint's shape from its config.json, in any of its spellings. Throws INVALID_ARGUMENT that names the file and the field
 * if something is missing, contradictory, out of bounds or not of this architecture.
 */
export function parseModelConfig(sources: ConfigSources): ModelConfig {
  const file = sources.file ?? "config.json";
  checkArchitecture(sources.config, file);
  const raw = parseFile(rawConfigSchema, sources.config, file);
  const rope = parseRope(raw, file);
  const vocabSize = requiredValue(
    file,
    [
      ["vocab_size", raw.vocab_size],
      ["rows of the embedding", sources.embeddingRows],
    ],
    "the number of tokens",
  );
  const config: ModelConfig = {
    layers: raw.num_hidden_layers,
    hiddenSize: raw.hidden_size,
    intermediateSize: raw.intermediate_size,
    ...parseExperts(raw, file),
    headDim: raw.head_dim,
    queryHeads: raw.num_attention_heads,
    kvHeads: raw.num_key_value_heads,
    vocabSize,
    slidingWindow: raw.sliding_window,
    attention: parseLayerTypes(raw, file),
    rope,
    maxContext: parseMaxContext(raw, rope.factor * rope.originalContext, file),
    rmsNormEps: parseNormEps(raw, file),
    swigluLimit: raw.swiglu_limit ?? REFERENCE.swigluLimit,
    tiedEmbeddings: raw.tie_word_embeddings ?? false,
    ...parseStops(raw, sources.generation),
  };
  checkShape(config, raw, file);
  return config;
}

function isOriginal(raw: RawConfig): boolean {
  return raw.model_type === undefined && raw.architectures === undefined;
}

function checkArchitecture(config: unknown, file: string): void {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw configFault(file, "(top level)", `expected an object, found ${preview(config)}`);
  }
  const { model_type: modelType, architectures, num_experts: experts } = config as Record<string, unknown>;
  if (modelType !== undefined && modelType !== "gpt_oss") {
    throw configFault(file, "model_type", `expected "gpt_oss", found ${preview(modelType)}`);
  }
  if (architectures !== undefined && !(Array.isArray(architectures) && architectures.includes("GptOssForCausalLM"))) {
    throw configFault(file, "architectures", `expected ["GptOssForCausalLM"], found ${preview(architectures)}`);
  }
  if (modelType === undefined && architectures === undefined && experts === undefined) {
    throw configFault(file, "model_type", 'missing; expected "gpt_oss", or the fields of the original format (num_experts, ...)');
  }
}

function parseExperts(raw: RawConfig, file: string): Pick<ModelConfig, "experts" | "expertsPerToken"> {
  const experts = requiredValue(
    file,
    [
      ["num_local_experts", raw.num_local_experts],
      ["num_experts", raw.num_experts],
    ],
    "the experts of a layer",
  );
  const expertsPerToken = requiredValue(
    file,
    [
      ["num_experts_per_tok", raw.num_experts_per_tok],
      ["experts_per_token", raw.experts_per_token],
    ],
    "the experts that a token uses",
  );
  if (expertsPerToken > experts) {
    throw configFault(
      file,
      "num_experts_per_tok",
      `expected at most the ${experts} experts of a layer, found ${expertsPerToken}`,
    );
  }
  return { experts, expertsPerToken };
}

const KIND_BY_NAME: ReadonlyMap<string, AttentionKind> = new Map([
  ["sliding_attention", "sliding"],
  ["full_attention", "full"],
]);

/** The reference model slides on even layers; so does a file that does not list its layers. */
function parseLayerTypes(raw: RawConfig, file: string): readonly AttentionKind[] {
  const layers = raw.num_hidden_layers;
  if (raw.layer_types === undefined || raw.layer_types === null) {
    return Array.from({ length: layers }, (_, layer) => (layer % 2 === 0 ? "sliding" : "full"));
  }
  if (raw.layer_types.length !== layers) {
    throw configFault(file, "layer_types", `expected num_hidden_layers = ${layers} entries, found ${raw.layer_types.length}`);
  }
  return raw.layer_types.map((name, layer) => {
    const kind = KIND_BY_NAME.get(name);
    if (kind !== undefined) return kind;
    throw configFault(file, `layer_types.${layer}`, `expected "sliding_attention" or "full_attention", found ${preview(name)}`);
  });
}

function parseMaxContext(raw: RawConfig, extendedContext: number, file: string): number {
  const given = valueOr(file, [["max_position_embeddings", raw.max_position_embeddings]], isOriginal(raw) ? extendedContext : 0);
  if (given === 0) throw configFault(file, "max_position_embeddings", "missing; expected the longest context in tokens");
  if (given > CONFIG_LIMITS.contextTokens) {
    throw configFault(file, "max_position_embeddings", `expected at most ${CONFIG_LIMITS.contextTokens}, found ${given}`);
  }
  return Math.floor(given);
}

function parseNormEps(raw: RawConfig, file: string): number {
  if (raw.rms_norm_eps !== undefined && raw.rms_norm_eps !== null) return raw.rms_norm_eps;
  if (isOriginal(raw)) return REFERENCE.rmsNormEps;
  throw configFault(file, "rms_norm_eps", "missing; expected a number above 0, at most 1");
}

/** Stop tokens are the union of both files', generation_config.json's first: it is the one that lists them all. */
function parseStops(raw: RawConfig, generation: unknown): Pick<ModelConfig, "eosTokenIds" | "padTokenId"> {
  const rawGeneration =
    generation === undefined ? undefined : parseFile(rawGenerationSchema, generation, "generation_config.json");
  const eosTokenIds = [rawGeneration?.eos_token_id, raw.eos_token_id].flatMap((ids) => ids ?? []);
  return {
    eosTokenIds: [...new Set(eosTokenIds)],
    padTokenId: raw.pad_token_id ?? rawGeneration?.pad_token_id ?? undefined,
  };
}

function checkShape(config: ModelConfig, raw: RawConfig, file: string): void {
  if (config.queryHeads % config.kvHeads !== 0) {
    throw configFault(
      file,
      "num_attention_heads",
      `expected a multiple of num_key_value_heads = ${config.kvHeads}, found ${config.queryHeads}`,
    );
  }
  if (config.headDim % 2 !== 0) throw configFault(file, "head_dim", `expected an even number, found ${config.headDim}`);
  if (raw.attention_bias === false)
    throw configFault(file, "attention_bias", "expected true: attention projections carry a bias");
  if (raw.hidden_act !== undefined && raw.hidden_act !== null && raw.hidden_act !== "silu") {
    throw configFault(file, "hidden_act", `expected "silu", found ${preview(raw.hidden_act)}`);
  }
  for (const id of [...config.eosTokenIds, ...(config.padTokenId === undefined ? [] : [config.padTokenId])]) {
    if (id >= config.vocabSize) {
      throw configFault(
        file,
        "eos_token_id or pad_token_id",
        `expected an id below vocab_size = ${config.vocabSize}, found ${id}`,
      );
    }
  }
  checkQuantisation(config, raw, file);
}

function checkQuantisation(config: ModelConfig, raw: RawConfig, file: string): void {
  const method = raw.quantization_config?.quant_method;
  if (method === undefined) return;
  if (method !== "mxfp4")
    throw configFault(file, "quantization_config.quant_method", `expected "mxfp4", found ${preview(method)}`);
  checkMxfp4Shape(config, file);
}

/** MXFP4 has one scale for 32 inputs, so both inner widths must be multiples of 32. */
export function checkMxfp4Shape(config: Pick<ModelConfig, "hiddenSize" | "intermediateSize">, file: string): void {
  for (const [field, value] of [
    ["hidden_size", config.hiddenSize],
    ["intermediate_size", config.intermediateSize],
  ] as const) {
    if (value % 32 !== 0) throw configFault(file, field, `expected a multiple of 32, as MXFP4 experts need, found ${value}`);
  }
}
