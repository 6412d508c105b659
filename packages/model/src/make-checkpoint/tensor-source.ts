import type { CheckpointPlan, ExpertProjectionPlan, PlannedTensor, ProjectionPlan, QkvPlan } from "../checkpoint/tensor-plan.js";
import { plannedBytes } from "../checkpoint/tensor-plan.js";
import type { ModelConfig } from "../model-config.js";
import { toBf16 } from "../mxfp4/bf16.js";
import { dequantiseMxfp4, mxfp4Sizes } from "../mxfp4/mxfp4-format.js";
import { normalFiller, scaleFiller, uniformFiller, type WordFiller } from "./random-words.js";

/** A stretch of a tensor's bytes, made piece by piece. */
export interface TensorPart {
  readonly lengthBytes: number;
  /** Most bytes that one call to `fill` should make: what must be made whole fixes it. A multiple of 4. */
  readonly chunkBytes: number;
  readonly fill: WordFiller;
}

export interface TensorSource {
  readonly tensor: PlannedTensor;
  readonly parts: readonly TensorPart[];
}

const CHUNK_BYTES = 8 * 1024 * 1024;

interface SourceContext {
  readonly config: ModelConfig;
  readonly seed: number;
}

/**
 * The contents of every tensor, in the order of the forward pass. Each is keyed by what it is, not by its name or place, so that the
 * same seed gives the same weights in both layouts, packed or not, in one file or many. Activations keep a root mean square near 1
 * and logits have a standard deviation near 2.
 */
export function tensorSources(plan: CheckpointPlan, config: ModelConfig, seed: number): readonly TensorSource[] {
  const context = { config, seed };
  const normal = (tensor: PlannedTensor, key: string, { mean = 0, std }: { readonly mean?: number; readonly std: number }) => ({
    tensor,
    parts: [streamPart(plannedBytes(tensor), normalFiller({ seed, name: key, mean, std }))],
  });
  const linear = ({ weight, bias }: ProjectionPlan, key: string, gain: number) => [
    normal(weight, `${key}.weight`, { std: gain / Math.sqrt(weight.shape[1] ?? 1) }),
    normal(bias, `${key}.bias`, { std: BIAS_STD }),
  ];
  const norm = (tensor: PlannedTensor, key: string) => normal(tensor, key, { mean: 1, std: 0.1 });
  return [
    normal(plan.embedding, "embedding", { std: 1 }),
    ...plan.layers.flatMap((layer, index) => [
      norm(layer.attentionNorm, `${index}.attention-norm`),
      ...qkvSources(layer.qkv, `${index}`, context),
      normal(layer.sinks, `${index}.sinks`, { std: 1 }),
      ...linear(layer.output, `${index}.output`, 1),
      norm(layer.mlpNorm, `${index}.mlp-norm`),
      ...linear(layer.router, `${index}.router`, 1.5),
      ...expertSources(layer.gateUp, `${index}.gate-up`, context),
      ...expertSources(layer.down, `${index}.down`, context),
    ]),
    norm(plan.finalNorm, "final-norm"),
    normal(plan.unembedding, "unembedding", { std: 2 / Math.sqrt(config.hiddenSize) }),
  ];
}

const BIAS_STD = 0.05;

function streamPart(lengthBytes: number, fill: WordFiller): TensorPart {
  return { lengthBytes, chunkBytes: CHUNK_BYTES, fill };
}

function qkvSources(plan: QkvPlan, prefix: string, { config, seed }: SourceContext): TensorSource[] {
  const widths = { query: config.queryHeads, key: config.kvHeads, value: config.kvHeads } as const;
  const part = (which: keyof typeof widths, kind: "weight" | "bias") => {
    const rowBytes = kind === "weight" ? 2 * config.hiddenSize : 2;
    const std = kind === "weight" ? 1 / Math.sqrt(config.hiddenSize) : BIAS_STD;
    const fill = normalFiller({ seed, name: `${prefix}.${which}.${kind}`, mean: 0, std });
    return streamPart(widths[which] * config.headDim * rowBytes, fill);
  };
  const kinds = ["weight", "bias"] as const;
  if (plan.kind === "separate") {
    return (["query", "key", "value"] as const).flatMap((which) =>
      kinds.map((kind) => ({ tensor: plan[which][kind], parts: [part(which, kind)] })),
    );
  }
  return kinds.map((kind) => ({ tensor: plan.qkv[kind], parts: [part("query", kind), part("key", kind), part("value", kind)] }));
}

function expertSources({ weight, bias }: ExpertProjectionPlan, key: string, { seed }: SourceContext): TensorSource[] {
  const biasFill = normalFiller({ seed, name: `${key}.bias`, mean: 0, std: BIAS_STD });
  const biasSource = { tensor: bias, parts: [streamPart(plannedBytes(bias), biasFill)] };
  const blocks = uniformFiller({ seed, name: `${key}.blocks` });
  if (weight.kind === "mxfp4") {
    const scales = scaleFiller({ seed, name: `${key}.scales`, std: 1 / Math.sqrt((weight.scales.shape[2] ?? 1) * 32) });
    return [
      { tensor: weight.blocks, parts: [streamPart(plannedBytes(weight.blocks), blocks)] },
      { tensor: weight.scales, parts: [streamPart(plannedBytes(weight.scales), scales)] },
      biasSource,
    ];
  }
  const [, inner = 1, out = 1] = weight.weight.shape;
  const scales = scaleFiller({ seed, name: `${key}.scales`, std: 1 / Math.sqrt(inner) });
  return [{ tensor: weight.weight, parts: [unpackedPart({ tensor: weight.weight, inner, out, blocks, scales })] }, biasSource];
}

interface UnpackedOptions {
  readonly tensor: PlannedTensor;
  readonly inner: number;
  readonly out: number;
  readonly blocks: WordFiller;
  readonly scales: WordFiller;
}

/** The same experts as the packed ones, `[experts, in, out]` in bf16; made one whole expert at a time, since it is transposed. */
function unpackedPart({ tensor, inner, out, blocks, scales }: UnpackedOptions): TensorPart {
  const { blocksBytes, scalesBytes } = mxfp4Sizes(inner * out);
  const expertWords = (inner * out) / 2;
  const fill: WordFiller = (words, firstWord) => {
    const expert = firstWord / expertWords;
    const packed = { blocks: new Uint8Array(blocksBytes), scales: new Uint8Array(scalesBytes) };
    blocks(new Uint32Array(packed.blocks.buffer), (expert * blocksBytes) / 4);
    scales(new Uint32Array(packed.scales.buffer), (expert * scalesBytes) / 4);
    const values = dequantiseMxfp4(packed);
    const bits = new Uint16Array(words.buffer, words.byteOffset, words.length * 2);
    for (let o = 0; o < out; o++) {
      for (let i = 0; i < inner; i++) bits[i * out + o] = toBf16(values[o * inner + i] ?? 0);
    }
  };
  return { lengthBytes: plannedBytes(tensor), chunkBytes: expertWords * 4, fill };
}
