import type { AttentionLayerRefs, Checkpoint, LinearRefs, TensorRef } from "@moiety/model";
import type { StepMeasurement } from "./step-probe.js";

/** What a step had to read and to compute, at least. */
export interface StepCost {
  /** Weights of attention, gate and unembedding, once per micro-batch, and of the experts wanted. Keys and values are left out. */
  readonly weightsReadBytes: number;
  /** Two per multiply-add of the linears. Attention's scores are left out. */
  readonly operations: number;
}

/** Reads a checkpoint's sizes once; the function returned is the cost of a step from which `draws` rows are sampled. */
export function stepCosts(checkpoint: Checkpoint): (step: StepMeasurement, draws: number) => StepCost {
  const { config, expertBytes } = checkpoint;
  const refs = checkpoint.attentionRefs();
  const layerBytes = sum(refs.layers.flatMap(layerTensors).map(({ lengthBytes }) => lengthBytes));
  const lastBytes = refs.finalNorm.lengthBytes + refs.unembedding.lengthBytes;
  const rowWeights = sum(refs.layers.flatMap(layerLinears).map(({ weight }) => elements(weight)));
  const pairWeights = 3 * config.hiddenSize * config.intermediateSize;
  return ({ rows, pairs, microBatches, expertsRead }, draws) => ({
    weightsReadBytes: microBatches * (layerBytes + (draws > 0 ? lastBytes : 0)) + expertsRead * expertBytes,
    operations: 2 * (rows * rowWeights + pairs * pairWeights + draws * elements(refs.unembedding)),
  });
}

function layerLinears(layer: AttentionLayerRefs): LinearRefs[] {
  return [layer.query, layer.key, layer.value, layer.output, layer.router];
}

function layerTensors(layer: AttentionLayerRefs): TensorRef[] {
  const linears = layerLinears(layer).flatMap(({ weight, bias }) => [weight, bias]);
  return [layer.attentionNorm, layer.sinks, layer.mlpNorm, ...linears];
}

function elements({ shape }: TensorRef): number {
  return shape.reduce((product, size) => product * size, 1);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
