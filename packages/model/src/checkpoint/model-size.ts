import type { ModelConfig } from "../model-config.js";
import { type CheckpointPlan, type PlannedTensor, plannedBytes, plannedTensors, type TensorRole } from "./tensor-plan.js";

export interface ParameterCounts {
  readonly total: number;
  /** What one token uses: all but the embedding, of which it reads one row, and but the experts that it does not choose. */
  readonly active: number;
}

export type RoleBytes = Readonly<Record<TensorRole, number>>;

/** Parameters, counted as elements whatever they are stored as. */
export function countParameters(plan: CheckpointPlan, config: ModelConfig): ParameterCounts {
  const tensors = plannedTensors(plan);
  const expert = sum(tensors.filter(({ role }) => role === "expert").map(parameters));
  const embedding = parameters(plan.embedding);
  const total = sum(tensors.map(parameters));
  const activeExpert = (expert * config.expertsPerToken) / config.experts;
  return { total, active: total - expert + activeExpert - (config.tiedEmbeddings ? 0 : embedding) };
}

/** A byte of blocks holds two parameters; scales are not parameters. */
function parameters({ role, dtype, shape }: PlannedTensor): number {
  const elements = shape.reduce((product, size) => product * size, 1);
  if (role !== "expert" || dtype !== "u8") return elements;
  return shape.length === 4 ? 2 * elements : 0;
}

export function bytesByRole(plan: CheckpointPlan): RoleBytes {
  const bytes: Record<TensorRole, number> = { embedding: 0, unembedding: 0, attention: 0, router: 0, norm: 0, expert: 0 };
  for (const tensor of plannedTensors(plan)) bytes[tensor.role] += plannedBytes(tensor);
  return bytes;
}

/** Expert bytes that each of `shards` workers holds if every layer's experts are dealt out evenly, in runs; the first ones get one more. */
export function expertBytesByShard(plan: CheckpointPlan, config: ModelConfig, shards: number): readonly number[] {
  const expertBytes = bytesByRole(plan).expert / config.experts;
  const each = Math.floor(config.experts / shards);
  return Array.from({ length: shards }, (_, shard) => (each + (shard < config.experts % shards ? 1 : 0)) * expertBytes);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
