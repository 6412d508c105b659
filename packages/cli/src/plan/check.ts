import { AppError } from "@moiety/core";
import { shareOf } from "./device.js";
import { type Fleet, NO_LINK } from "./fleet.js";
import {
  benchmarkOf,
  type Measured,
  type MeasuredCase,
  type MeasuredModel,
  type MeasuredRun,
  measuredDevice,
  measuredHop,
} from "./measured.js";
import { type PlanShape, releasedShape } from "./plan-shape.js";
import { type StepTime, stepTime } from "./step-time.js";

/** A prediction is good within this factor's distance of 1. */
export const GOAL = 0.2;

export interface CheckedPart {
  readonly predictedMs: number;
  readonly measuredMs: number;
}

/** One case of one run of `moiety bench model`, predicted from the same file's `kernels` and `hop`. */
export interface CheckedCase {
  readonly experts: MeasuredRun["experts"];
  readonly activation: string;
  readonly kind: MeasuredCase["kind"];
  readonly rows: number;
  readonly step: CheckedPart;
  /** Predicted over measured step. */
  readonly ratio: number;
  readonly withinGoal: boolean;
  readonly attention: CheckedPart;
  readonly hop: CheckedPart;
  readonly compute: CheckedPart;
  readonly sample: CheckedPart;
}

/** What of the checkpoint the bench's figures give; everything else is taken to be as released. */
export function benchedShape({ checkpoint }: MeasuredModel): PlanShape {
  const { layers, hiddenSize, experts, vocabSize } = checkpoint;
  const released = releasedShape("20b", { layers, experts, vocabSize });
  if (released.hiddenSize === hiddenSize) return released;
  const message = `benchmarks.model: a hidden size of ${hiddenSize} is no released model's; name the checkpoint's folder: ${checkpoint.directory}`;
  throw new AppError("INVALID_ARGUMENT", message);
}

/**
 * Predicts each measured case. Co-located is one expert worker without a hop; sharded is two, on the processor that attention uses too,
 * so that nothing overlaps. The machine's limits at the time of each run scale the kernels' rates: see measuredDevice.
 * @throws AppError INVALID_ARGUMENT when the file lacks something.
 */
export function checkPrediction(measured: Measured, shape: PlanShape): readonly CheckedCase[] {
  const model = benchmarkOf(measured, "model");
  return model.runs.flatMap((run) => {
    const fleet = fleetOf(measured, run);
    return run.cases.map((each) => check(shape, fleet, { run, each, promptTokens: model.settings.promptTokens }));
  });
}

/** Expert workers of a sharded run. */
const EXPERT_WORKERS = 2;

function fleetOf(measured: Measured, run: MeasuredRun): Fleet {
  const device = measuredDevice(measured, { threads: run.attentionThreads, now: run.limits, activation: run.activation });
  const sharded = run.experts === "sharded";
  const expert = sharded ? shareOf(device, Math.min(1, run.expertThreads / run.attentionThreads)) : device;
  return {
    attention: [{ name: "attention", pool: "attention", device }],
    experts: Array.from({ length: sharded ? EXPERT_WORKERS : 1 }, (_, index) => ({
      name: `experts-${index}`,
      pool: "experts",
      device: expert,
    })),
    hop: sharded ? measuredHop(measured) : { constantUs: 0, usPerKb: 0 },
    link: NO_LINK,
    oneMachine: true,
  };
}

interface CaseOf {
  readonly run: MeasuredRun;
  readonly each: MeasuredCase;
  readonly promptTokens: number;
}

function check(shape: PlanShape, fleet: Fleet, { run, each, promptTokens }: CaseOf): CheckedCase {
  const microBatches = Math.round(each.microBatches);
  const rows = Math.ceil(each.rows / microBatches);
  const batch =
    each.kind === "prefill"
      ? ({ kind: "prefill", rows } as const)
      : ({ kind: "decode", rows, contextTokens: promptTokens + each.steps / 2 } as const);
  const predicted = stepTime(shape, fleet, { batch, microBatches, attentionWorkers: 1 });
  const ratio = (predicted.seconds * 1_000) / each.stepMs;
  return {
    experts: run.experts,
    activation: run.activation,
    kind: each.kind,
    rows: each.rows,
    step: { predictedMs: predicted.seconds * 1_000, measuredMs: each.stepMs },
    ratio,
    withinGoal: Math.abs(ratio - 1) <= GOAL,
    ...partsOf(predicted, each),
  };
}

/** Measured shares are of the time of all micro-batches together. */
function partsOf({ parts }: StepTime, { shares, stepMs, microBatches }: MeasuredCase) {
  const part = (seconds: number, share: number) => ({ predictedMs: seconds * 1_000, measuredMs: share * stepMs * microBatches });
  return {
    attention: part(parts.attention + parts.combine, shares.attend + shares.combine),
    hop: part(parts.hop, shares.encode + shares.network),
    compute: part(parts.experts, shares.queue + shares.compute),
    sample: part(parts.sample, shares.sample),
  };
}
