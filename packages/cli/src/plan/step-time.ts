import type { Fleet } from "./fleet.js";
import { type LayerTime, layerTime } from "./layer-time.js";
import type { PlanShape } from "./plan-shape.js";
import type { Batch } from "./workload.js";

/** Seconds of a whole step if its parts came one after another: all layers, all micro-batches of one attention worker. */
export interface StepParts {
  readonly attention: number;
  readonly hop: number;
  readonly experts: number;
  readonly combine: number;
  readonly sample: number;
}

export type Bottleneck =
  | "attention, memory"
  | "attention, compute"
  | "experts, memory"
  | "experts, compute"
  | "hop"
  | "combine"
  | "sampling, memory"
  | "sampling, compute";

export interface StepTime {
  readonly seconds: number;
  readonly microBatches: number;
  readonly parts: StepParts;
  /** What keeps its part busy longest; where nothing is busy all the time, the longest part. */
  readonly bottleneck: Bottleneck;
}

export interface StepRequest {
  /** Of every micro-batch. */
  readonly batch: Batch;
  /** Of one attention worker; several overlap, except on one machine. */
  readonly microBatches: number;
  /** That have such a step to do, at the same time. */
  readonly attentionWorkers: number;
}

/**
 * A step of `m` micro-batches on each of `A` attention workers, which share the expert workers. In a layer, each micro-batch goes
 * through attention, hop, experts and combine, `chain` seconds in all. Meanwhile others use what it does not use, so that a layer takes
 *
 *     period = max(chain, m (attention + combine), m hop's bytes, A m experts)
 *
 * and the step `layers - 1` periods, a chain, and the longest stage that has to be waited for, as in a flow shop of two jobs. Alone
 * (m = A = 1) that is `layers * chain`. On one machine everything takes turns: `period = A m chain`.
 */
export function stepTime(shape: PlanShape, fleet: Fleet, request: StepRequest): StepTime {
  const { batch, microBatches, attentionWorkers } = request;
  const layer = layerTime(shape, fleet, batch);
  const attending = layer.attention.seconds + layer.combineSeconds;
  const chain = attending + layer.hopSeconds + layer.experts.seconds;
  const busy = {
    attention: microBatches * attending,
    hop: microBatches * layer.hopBusySeconds,
    experts: attentionWorkers * microBatches * layer.experts.seconds,
  };
  const parts = partsOf(shape, layer, microBatches);
  const sampling = microBatches * layer.sample.seconds;
  if (fleet.oneMachine) {
    const seconds = attentionWorkers * (shape.layers * microBatches * chain + sampling);
    return { seconds, microBatches, parts, bottleneck: longest(layer, parts) };
  }
  const lag = Math.max(
    microBatches > 1 ? Math.max(attending, layer.hopBusySeconds) : 0,
    microBatches * attentionWorkers > 1 ? layer.experts.seconds : 0,
  );
  const period = Math.max(chain, busy.attention, busy.hop, busy.experts);
  const seconds = (shape.layers - 1) * period + chain + lag + sampling;
  const saturated = period > chain ? busiest(layer, busy) : undefined;
  return { seconds, microBatches, parts, bottleneck: saturated ?? longest(layer, parts) };
}

function partsOf({ layers }: PlanShape, layer: LayerTime, microBatches: number): StepParts {
  const times = layers * microBatches;
  return {
    attention: times * layer.attention.seconds,
    hop: times * layer.hopSeconds,
    experts: times * layer.experts.seconds,
    combine: times * layer.combineSeconds,
    sample: microBatches * layer.sample.seconds,
  };
}

function busiest(
  layer: LayerTime,
  busy: { readonly attention: number; readonly hop: number; readonly experts: number },
): Bottleneck {
  if (busy.hop >= Math.max(busy.attention, busy.experts)) return "hop";
  return busy.attention >= busy.experts ? `attention, ${layer.attention.bound}` : `experts, ${layer.experts.bound}`;
}

function longest(layer: LayerTime, parts: StepParts): Bottleneck {
  const named: readonly (readonly [Bottleneck, number])[] = [
    [`experts, ${layer.experts.bound}`, parts.experts],
    [`attention, ${layer.attention.bound}`, parts.attention],
    ["hop", parts.hop],
    [`sampling, ${layer.sample.bound}`, parts.sample],
    ["combine", parts.combine],
  ];
  return named.reduce((worst, each) => (each[1] > worst[1] ? each : worst))[0];
}
