import type { ModelConfig } from "../model-config.js";
import type { AttentionRefs, ExpertRefs } from "../tensor-ref.js";
import type { ParameterCounts, RoleBytes } from "./model-size.js";
import type { CheckpointLayout, ExpertFormat } from "./tensor-plan.js";

/** An opened checkpoint: everything known of it without reading its weights. */
export interface Checkpoint {
  /** Absolute path of the folder that holds config.json and the weights. */
  readonly directory: string;
  readonly config: ModelConfig;
  readonly layout: CheckpointLayout;
  readonly expertFormat: ExpertFormat;
  /** Hex sha256; processes that disagree on it do not serve the same model. */
  readonly fingerprint: string;
  attentionRefs(): AttentionRefs;
  /** OUT_OF_RANGE if the model has no such layer or expert. */
  expertRefs(layer: number, expert: number): ExpertRefs;
  readonly hasTokenizer: boolean;
  readonly tokenizerFile: string | undefined;
  readonly parameters: ParameterCounts;
  readonly bytesByRole: RoleBytes;
  /** Of one expert of one layer, biases included. */
  readonly expertBytes: number;
  /** Expert bytes of each of `shards` workers that share all experts evenly. */
  shardBytes(shards: number): readonly number[];
  /** Absolute paths of the safetensors files. */
  readonly files: readonly string[];
  /** Absolute paths of what else it is read from: config.json and, where they are there, generation_config.json, tokenizer.json and the index. */
  readonly companionFiles: readonly string[];
  /** Tensors that the architecture does not have, sorted. */
  readonly unexpectedTensors: readonly string[];
  readonly warnings: readonly string[];
}
