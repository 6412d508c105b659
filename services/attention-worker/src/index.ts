export { type EngineBench, type EngineBenchOptions, type EngineStep, openEngineBench } from "./bench/engine-bench.js";
export { type ForwardBench, type ForwardBenchOptions, type MeasuredStep, openForwardBench } from "./bench/forward-bench.js";
export { HopBench, type HopLoad, type HopMeasurement, hopBenchModel } from "./bench/hop-bench.js";
export { type LoopDelay, loopDelayOf } from "./bench/loop-delay.js";
export type { RoundTrips } from "./bench/round-trips.js";
export type { StepParts } from "./bench/step-probe.js";
export { type AttentionWorkerConfig, attentionWorkerConfigSchema } from "./config.js";
export { type NamedCase, readCases } from "./evaluation/cases.js";
export type { EvaluationCase, EvaluationResult } from "./evaluation/evaluate.js";
export {
  type Evaluation,
  type EvaluationExperts,
  type EvaluationOptions,
  evaluateCases,
  openEvaluation,
} from "./evaluation/evaluation.js";
export { main } from "./main.js";
export { type AttentionWorker, type AttentionWorkerOptions, startAttentionWorker } from "./server.js";
