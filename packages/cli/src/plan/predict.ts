import { AppError } from "@moiety/core";
import { type Fleet, withExpertWorkers } from "./fleet.js";
import { type LinkBytes, linkBytesPerToken } from "./hop.js";
import { type MemoryNeed, memoryNeeds } from "./memory.js";
import type { PlanShape } from "./plan-shape.js";
import { layerShares } from "./routing.js";
import { type StepTime, stepTime } from "./step-time.js";
import type { Workload } from "./workload.js";

/** Attention workers measure from which size two micro-batches are faster; this is where that mostly begins. */
const MICRO_BATCH_MIN_ROWS = 16;

export interface PlanRequest {
  readonly shape: PlanShape;
  readonly fleet: Fleet;
  /** Numbers of expert workers to predict, each 1 to 64 and at most the experts of a layer. */
  readonly expertWorkers: readonly number[];
  readonly workload: Workload;
  readonly replicas: number;
  /** Share of memory that is kept free, 0 to 1. */
  readonly headroom: number;
}

export interface DecodePrediction {
  /** Sequences, all attention workers together. */
  readonly batch: number;
  /** All rows of an attention worker together. */
  readonly single: StepTime;
  /** In two halves that overlap; absent where there are not two rows, or on one machine. */
  readonly overlapped?: StepTime;
  /** Of the way that an attention worker takes: halves from 16 rows each. */
  readonly tokensPerSecond: number;
  readonly msPerToken: number;
  readonly bottleneck: StepTime["bottleneck"];
}

export interface PrefillPrediction {
  readonly step: StepTime;
  readonly tokensPerSecond: number;
}

/** What is to be expected of one number of expert workers. */
export interface FleetPrediction {
  readonly expertWorkers: number;
  /** `[workers]` experts of one layer. They add up to the layer's experts. */
  readonly expertsOfLayer: readonly number[];
  readonly memory: readonly MemoryNeed[];
  readonly fits: boolean;
  /** `[workers]` per token, all layers together. */
  readonly linkBytes: readonly LinkBytes[];
  readonly decode: readonly DecodePrediction[];
  /** Every attention worker with one prompt, in chunks. */
  readonly prefill: PrefillPrediction;
}

/** Predicts every number of expert workers. @throws AppError INVALID_ARGUMENT for more of them than a layer has experts. */
export function predict(request: PlanRequest): readonly FleetPrediction[] {
  return request.expertWorkers.map((count) => predictFleet(request, count));
}

function predictFleet(request: PlanRequest, expertWorkers: number): FleetPrediction {
  const { shape, workload, replicas, headroom } = request;
  if (expertWorkers > shape.experts) {
    const message = `--experts: expected at most the ${shape.experts} experts of a layer, found ${expertWorkers}`;
    throw new AppError("INVALID_ARGUMENT", message);
  }
  const fleet = withExpertWorkers(request.fleet, expertWorkers);
  const sequences = Math.ceil(Math.max(...workload.batches) / fleet.attention.length);
  const memory = memoryNeeds(shape, fleet, { sequences, contextTokens: workload.contextTokens, replicas, headroom });
  return {
    expertWorkers,
    expertsOfLayer: layerShares(shape.experts, expertWorkers),
    memory,
    fits: memory.every(({ lacksBytes }) => lacksBytes === 0),
    linkBytes: linkBytesPerToken(shape, expertWorkers),
    decode: workload.batches.map((batch) => predictDecode(request, fleet, batch)),
    prefill: predictPrefill(request, fleet),
  };
}

function predictDecode({ shape, workload }: PlanRequest, fleet: Fleet, batch: number): DecodePrediction {
  const attentionWorkers = Math.min(batch, fleet.attention.length);
  const rows = Math.ceil(batch / attentionWorkers);
  const { contextTokens } = workload;
  const split = (microBatches: number) =>
    stepTime(shape, fleet, {
      batch: { kind: "decode", rows: Math.ceil(rows / microBatches), contextTokens },
      microBatches,
      attentionWorkers,
    });
  const single = split(1);
  const overlapped = rows > 1 && !fleet.oneMachine ? split(2) : undefined;
  const taken = overlapped !== undefined && rows >= 2 * MICRO_BATCH_MIN_ROWS ? overlapped : single;
  return {
    batch,
    single,
    ...(overlapped === undefined ? {} : { overlapped }),
    tokensPerSecond: batch / taken.seconds,
    msPerToken: taken.seconds * 1_000,
    bottleneck: taken.bottleneck,
  };
}

/** One prompt is never split: its later rows attend to its earlier ones. */
function predictPrefill({ shape, workload }: PlanRequest, fleet: Fleet): PrefillPrediction {
  const attentionWorkers = fleet.attention.length;
  const batch = { kind: "prefill", rows: workload.prefillTokens } as const;
  const step = stepTime(shape, fleet, { batch, microBatches: 1, attentionWorkers });
  return { step, tokensPerSecond: (attentionWorkers * workload.prefillTokens) / step.seconds };
}
