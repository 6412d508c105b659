import { AppError } from "@moiety/core";
import type { ModelConfig } from "../model-config.js";
import type { AttentionLayerRefs, AttentionRefs, ExpertRefs, ExpertWeightRefs, LinearRefs, TensorRef } from "../tensor-ref.js";
import type { CheckpointPlan, ExpertWeightPlan, PlannedTensor, ProjectionPlan, QkvPlan } from "./tensor-plan.js";
import { sliceEntry, sliceRows } from "./tensor-slice.js";

/** Finds a planned tensor on disk. */
export type RefOf = (planned: PlannedTensor) => TensorRef;

export function attentionRefsOf(plan: CheckpointPlan, config: ModelConfig, refOf: RefOf): AttentionRefs {
  const linear = ({ weight, bias }: ProjectionPlan): LinearRefs => ({ weight: refOf(weight), bias: refOf(bias) });
  return {
    embedding: refOf(plan.embedding),
    finalNorm: refOf(plan.finalNorm),
    unembedding: refOf(plan.unembedding),
    layers: plan.layers.map((layer) => ({
      attentionNorm: refOf(layer.attentionNorm),
      ...qkvRefs(layer.qkv, config, linear),
      output: linear(layer.output),
      sinks: refOf(layer.sinks),
      mlpNorm: refOf(layer.mlpNorm),
      router: linear(layer.router),
    })),
  };
}

function qkvRefs(
  plan: QkvPlan,
  config: ModelConfig,
  linear: (projection: ProjectionPlan) => LinearRefs,
): Pick<AttentionLayerRefs, "query" | "key" | "value"> {
  if (plan.kind === "separate") return { query: linear(plan.query), key: linear(plan.key), value: linear(plan.value) };
  const fused = linear(plan.qkv);
  const [queryRows, kvRows] = [config.queryHeads * config.headDim, config.kvHeads * config.headDim];
  const rows = (start: number, count: number): LinearRefs => ({
    weight: sliceRows(fused.weight, start, count),
    bias: sliceRows(fused.bias, start, count),
  });
  return { query: rows(0, queryRows), key: rows(queryRows, kvRows), value: rows(queryRows + kvRows, kvRows) };
}

export interface ExpertRefsOptions {
  readonly layer: number;
  readonly expert: number;
  readonly refOf: RefOf;
}

/** OUT_OF_RANGE if there is no such layer or expert. */
export function expertRefsOf(plan: CheckpointPlan, { layer, expert, refOf }: ExpertRefsOptions): ExpertRefs {
  const layerPlan = plan.layers[layer];
  const experts = layerPlan?.router.weight.shape[0] ?? 0;
  if (layerPlan === undefined || !Number.isInteger(expert) || expert < 0 || expert >= experts) {
    const model = `${plan.layers.length} layers of ${plan.layers[0]?.router.weight.shape[0] ?? 0} experts`;
    throw new AppError("OUT_OF_RANGE", `no expert ${expert} of layer ${layer}: the model has ${model}`, {
      details: { layer, expert },
    });
  }
  const entry = (planned: PlannedTensor) => sliceEntry(refOf(planned), expert);
  return {
    layer,
    expert,
    gateUp: weightRefs(layerPlan.gateUp.weight, entry),
    gateUpBias: entry(layerPlan.gateUp.bias),
    down: weightRefs(layerPlan.down.weight, entry),
    downBias: entry(layerPlan.down.bias),
  };
}

function weightRefs(plan: ExpertWeightPlan, entry: RefOf): ExpertWeightRefs {
  if (plan.kind === "mxfp4") return { kind: "mxfp4", blocks: entry(plan.blocks), scales: entry(plan.scales) };
  return { kind: "bf16-transposed", weight: entry(plan.weight) };
}
