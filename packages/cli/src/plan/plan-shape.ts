import {
  bytesByRole,
  CHECKPOINT_SHAPES,
  type CheckpointShape,
  type ExpertFormat,
  type ModelConfig,
  nameOfShape,
  parseModelConfig,
  planCheckpoint,
  shapeFiles,
} from "@moiety/model";

/** Weights that are not experts, activations, keys and values: two bytes each. */
const BF16_BYTES = 2;

/** What a plan has to know of a model: bytes and operations of its parts. Two operations per multiply-add. */
export interface PlanShape {
  readonly name: string;
  readonly layers: number;
  /** With a sliding window; the others see everything. */
  readonly slidingLayers: number;
  readonly slidingWindow: number;
  /** Experts per layer. */
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly expertFormat: ExpertFormat;
  readonly hiddenSize: number;
  /** One row of activations, as it lies in memory and on the wire. */
  readonly rowBytes: number;
  /** One expert of one layer. */
  readonly expertBytes: number;
  /** One expert on one row: gate, up and down. */
  readonly pairFlops: number;
  /** All but the experts: what every attention worker holds. */
  readonly attentionWorkerBytes: number;
  /** What one layer's attention and gate read: projections, norms, sinks, router. */
  readonly layerBytes: number;
  /** One layer's projections and router on one row. */
  readonly rowFlops: number;
  readonly unembeddingBytes: number;
  /** The unembedding on one row. */
  readonly drawFlops: number;
  /** Key and value of one position in one layer. */
  readonly positionBytes: number;
  /** One row's scores and weighted values over one position of one layer. */
  readonly scoreFlops: number;
}

/** Sizes of the two released models, with some of them replaced. @throws AppError INVALID_ARGUMENT for what no model can have. */
export function releasedShape(name: "20b" | "120b", replaced: Partial<CheckpointShape> = {}): PlanShape {
  const shape = { ...CHECKPOINT_SHAPES[name], ...replaced };
  const { parsed } = shapeFiles({ shape, layout: "huggingface", quantised: true, harmony: false });
  return planShape(parsed, "mxfp4");
}

/** From a parsed config.json. @throws AppError INVALID_ARGUMENT that names the field. */
export function shapeFromConfig(config: unknown): PlanShape {
  return planShape(parseModelConfig({ config }), expertFormatOf(config));
}

/** Released experts are packed, and their config.json says so or is of the original format; others are unquantised. */
function expertFormatOf(config: unknown): ExpertFormat {
  const { model_type, architectures, quantization_config } = config as Readonly<Record<string, unknown>>;
  const original = model_type === undefined && architectures === undefined;
  return original || (quantization_config !== undefined && quantization_config !== null) ? "mxfp4" : "bf16";
}

/** Bytes are the checkpoint's own (weights are used where they lie); operations are those of the forward pass's matrices. */
function planShape(config: ModelConfig, expertFormat: ExpertFormat): PlanShape {
  const { layers, hiddenSize, intermediateSize, experts, headDim, queryHeads, kvHeads, vocabSize } = config;
  const bytes = bytesByRole(planCheckpoint({ config, layout: "huggingface", experts: expertFormat }));
  const finalNormBytes = hiddenSize * BF16_BYTES;
  return {
    name: nameOfShape(config) ?? "gpt-oss architecture",
    layers,
    slidingLayers: config.attention.filter((kind) => kind === "sliding").length,
    slidingWindow: config.slidingWindow,
    experts,
    expertsPerToken: config.expertsPerToken,
    expertFormat,
    hiddenSize,
    rowBytes: hiddenSize * BF16_BYTES,
    expertBytes: bytes.expert / (layers * experts),
    pairFlops: 2 * 3 * hiddenSize * intermediateSize,
    attentionWorkerBytes: bytes.embedding + bytes.unembedding + bytes.attention + bytes.router + bytes.norm,
    layerBytes: (bytes.attention + bytes.router + bytes.norm - finalNormBytes) / layers,
    rowFlops: 2 * hiddenSize * (2 * queryHeads * headDim + 2 * kvHeads * headDim + experts),
    unembeddingBytes: vocabSize * hiddenSize * BF16_BYTES,
    drawFlops: 2 * vocabSize * hiddenSize,
    positionBytes: 2 * kvHeads * headDim * BF16_BYTES,
    scoreFlops: 4 * queryHeads * headDim,
  };
}
