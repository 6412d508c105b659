import { AppError } from "@moiety/core";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { ParameterCounts, RoleBytes } from "../checkpoint/model-size.js";
import { openCheckpoint } from "../checkpoint/open-checkpoint.js";
import type { CheckpointLayout, ExpertFormat } from "../checkpoint/tensor-plan.js";
import { HARMONY_SPECIAL_TOKENS } from "../make-checkpoint/bytes-tokenizer.js";
import { nameOfShape } from "../make-checkpoint/checkpoint-shape.js";
import type { ModelConfig } from "../model-config.js";
import { openTokenizer } from "../tokenizer/open-tokenizer.js";

/** KV cache of a sequence in bf16. */
export interface KvCacheSize {
  /** Per token, of the layers with full attention. */
  readonly fullBytesPerToken: number;
  /** Per sequence at most, of the sliding layers: they never need more than their window. */
  readonly slidingBytesPerSequence: number;
}

/** The experts of every layer divided over expert workers, as evenly as their number allows. */
export interface ShardSize {
  readonly shards: number;
  /** Experts of each layer that each worker holds, most first. */
  readonly experts: readonly number[];
  /** Expert bytes of each worker, all layers together. */
  readonly bytes: readonly number[];
}

export interface TokenizerReport {
  readonly file: string;
  readonly vocabSize: number;
  readonly specialTokens: number;
}

export interface CheckpointReport {
  readonly directory: string;
  /** The released model that has this shape, or the architecture. */
  readonly name: string;
  readonly layout: CheckpointLayout;
  readonly expertFormat: ExpertFormat;
  readonly fingerprint: string;
  readonly config: ModelConfig;
  readonly parameters: ParameterCounts;
  readonly bytesByRole: RoleBytes;
  readonly totalBytes: number;
  readonly files: readonly string[];
  readonly companionFiles: readonly string[];
  /** Of one expert of one layer. */
  readonly expertBytes: number;
  /** All but the experts: what every attention worker holds. */
  readonly attentionWorkerBytes: number;
  readonly shards: readonly ShardSize[];
  readonly kvCache: KvCacheSize;
  readonly tokenizer: TokenizerReport | undefined;
  readonly warnings: readonly string[];
}

export interface InspectOptions {
  /** Into how many expert workers to divide the experts. Default 1, 2, 4, 8, as far as there are experts. */
  readonly shards?: readonly number[];
}

/** Opens a checkpoint and its tokenizer and says what they need. Errors are those of openCheckpoint and openTokenizer. */
export async function inspectCheckpoint(directory: string, options: InspectOptions = {}): Promise<CheckpointReport> {
  const checkpoint = await openCheckpoint(directory);
  const { config, bytesByRole } = checkpoint;
  const shards = options.shards ?? [1, 2, 4, 8].filter((count) => count <= config.experts);
  const totalBytes = Object.values(bytesByRole).reduce((sum, bytes) => sum + bytes, 0);
  const tokenizer = await inspectTokenizer(checkpoint);
  return {
    directory: checkpoint.directory,
    name: nameOfShape(config) ?? "gpt-oss architecture",
    layout: checkpoint.layout,
    expertFormat: checkpoint.expertFormat,
    fingerprint: checkpoint.fingerprint,
    config,
    parameters: checkpoint.parameters,
    bytesByRole,
    totalBytes,
    files: checkpoint.files,
    companionFiles: checkpoint.companionFiles,
    expertBytes: checkpoint.expertBytes,
    attentionWorkerBytes: totalBytes - bytesByRole.expert,
    shards: shards.map((count) => shardSize(checkpoint, count)),
    kvCache: kvCacheSize(config),
    tokenizer: tokenizer.report,
    warnings: [...checkpoint.warnings, ...tokenizer.warnings],
  };
}

/** Keys and values in bf16: `2 * kvHeads * headDim * 2` bytes per layer and position. */
export function kvCacheSize(config: ModelConfig): KvCacheSize {
  const positionBytes = 2 * config.kvHeads * config.headDim * 2;
  const sliding = config.attention.filter((kind) => kind === "sliding").length;
  return {
    fullBytesPerToken: (config.layers - sliding) * positionBytes,
    slidingBytesPerSequence: sliding * Math.min(config.slidingWindow, config.maxContext) * positionBytes,
  };
}

function shardSize(checkpoint: Checkpoint, shards: number): ShardSize {
  const { experts } = checkpoint.config;
  if (!Number.isInteger(shards) || shards < 1 || shards > experts) {
    throw new AppError(
      "INVALID_ARGUMENT",
      `shards: expected integers from 1 to the ${experts} experts of a layer, found ${shards}`,
    );
  }
  const bytes = checkpoint.shardBytes(shards);
  const bytesOfAll = checkpoint.bytesByRole.expert;
  return { shards, experts: bytes.map((size) => Math.round((size / bytesOfAll) * experts)), bytes };
}

async function inspectTokenizer(
  checkpoint: Checkpoint,
): Promise<{ readonly report: TokenizerReport | undefined; readonly warnings: readonly string[] }> {
  const { tokenizerFile: file, config } = checkpoint;
  if (file === undefined) return { report: undefined, warnings: ["no tokenizer.json: only token ids can be served"] };
  const tokenizer = await openTokenizer(file);
  const warnings: string[] = [];
  if (tokenizer.vocabSize > config.vocabSize) {
    warnings.push(`the tokenizer has ids up to ${tokenizer.vocabSize - 1}, but the model only ${config.vocabSize} tokens`);
  }
  const missing = HARMONY_SPECIAL_TOKENS.filter((token) => !tokenizer.specialTokens.has(token));
  if (missing.length > 0) warnings.push(`the tokenizer lacks special tokens of the harmony format: ${missing.join(" ")}`);
  const stops = new Set(config.eosTokenIds);
  for (const token of ["<|return|>", "<|call|>"]) {
    const id = tokenizer.specialTokens.get(token);
    if (id !== undefined && !stops.has(id)) warnings.push(`${token} (${id}) is not among the stop tokens`);
  }
  return { report: { file, vocabSize: tokenizer.vocabSize, specialTokens: tokenizer.specialTokens.size }, warnings };
}
